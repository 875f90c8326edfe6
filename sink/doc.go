// Package sink puts units of commands where they go: a replication node today.
//
// A unit is made atomic here: Unit.Encode wraps its commands in MULTI and EXEC
// together with the pipeline's position, so that rows and position can never
// part. All state of a pipeline is such ordinary keys; Load reads it back, and
// there is no second place to look. Each piece of it has a checksum (pieces.go), which
// Encoder.Load verifies.
//
// Its caller is the pipeline loop, one goroutine per pipeline. Nothing here
// decides what a row becomes (transform) or when a unit ends (pipelines).
package sink
