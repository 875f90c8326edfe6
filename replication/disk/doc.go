// Package disk has a file system as an interface, the atomic replacement of small files, and
// IsFull, which reports whether an error means a full disk.
//
// Every file of a node but its lock goes through FS, so that a test can observe, delay and fail
// each operation (internal/faultfs) and cut the power (internal/memfs).
package disk
