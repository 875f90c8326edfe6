// Package disk is what a node needs of a disk: a file system as an interface, files that
// are replaced whole, and the question whether an error means a full disk.
//
// Every file of a node but its lock goes through FS, so that a test can fail or cut off
// each operation (internal/memfs).
package disk
