//go:build !linux || race

package replog

import "bytes"

// newChunk returns a chunk of size bytes on the heap.
func newChunk(size int) *chunk { return &chunk{buf: make([]byte, size)} }

// free overwrites the chunk, so that the race detector and the tests find a reader that still uses
// the chunk. The garbage collector then frees the memory.
func (c *chunk) free() {
	copy(c.buf, bytes.Repeat([]byte{0xdb}, len(c.buf)))
	c.buf = nil
}
