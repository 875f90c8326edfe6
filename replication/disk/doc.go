// Package disk is what a node needs of a disk: a file system as an interface, files that
// are replaced whole, and the question whether an error means a full disk.
//
// Every file of a node but its lock goes through FS, so that a test can observe, delay and fail
// each operation (internal/faultfs) and cut the power (internal/memfs).
package disk
