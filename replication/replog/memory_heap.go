//go:build !linux || race

package replog

// newChunk returns a chunk of size bytes on the heap.
func newChunk(size int) *chunk { return &chunk{buf: make([]byte, size)} }
