// Package tablestate defines what a pipeline stores beside its position: the forms of the pieces
// of state, and how a stored piece compares with what is true now.
//
//   - pieces.go: the names of the pieces, the progress of an initial load, a stored position
//   - gaps.go: the stretches of the source that were passed over, and the requests to skip one
//   - keys.go, search.go: jobs that read some rows again, and requests to find such rows
//   - letter.go: dead letters
//   - prepared.go: XA transactions that are prepared
//   - mapping.go: the canonical form of a mapping, and its fingerprint
//   - difference.go: the places where two canonical forms differ
//   - schema.go: the schema of a table, and how two versions' forms of it compare
//
// Pieces outlive the version that wrote them. Each comparison therefore ignores fields that only
// one version knows, and no piece's name or form may change.
//
// The package is pure: bytes and values in, bytes and values out. The caller, package pipelines,
// puts pieces into units and decides what a difference means.
package tablestate
