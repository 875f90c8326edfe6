//go:build linux && !race

package replog

import (
	"runtime"
	"syscall"
)

// mapFrom is the chunk size in bytes from which a chunk gets memory pages of its own.
const mapFrom = 64 << 10

// newChunk returns a chunk of size bytes. Large chunks lie outside the Go heap: the window would be
// most of the heap while it is large, and the garbage collector lets the heap grow by as much again
// before it collects. The pages of a chunk that is not freed, because its log was closed, are
// unmapped when the chunk is unreachable. A reader references the chunk, not only its bytes.
func newChunk(size int) *chunk {
	if size < mapFrom {
		return &chunk{buf: make([]byte, size)}
	}
	pages, err := syscall.Mmap(-1, 0, size,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		// The process has too many mappings. The heap uses fewer and larger ones.
		return &chunk{buf: make([]byte, size)}
	}
	c := &chunk{buf: pages, mapped: true}
	c.cleanup = runtime.AddCleanup(c, unmap, pages)
	return c
}

// free returns the memory of a chunk that no reader holds to the system.
func (c *chunk) free() {
	if c.mapped {
		c.cleanup.Stop()
		unmap(c.buf)
	}
	c.buf = nil
}

func unmap(pages []byte) {
	if syscall.Munmap(pages) != nil {
		// Munmap fails with too many mappings; then at least the memory is returned.
		_ = syscall.Madvise(pages, syscall.MADV_DONTNEED)
	}
}
