//go:build !linux || race

package replog

// newChunk returns a chunk of size bytes.
func newChunk(size int) *chunk { return &chunk{buf: make([]byte, size)} }
