//go:build linux && !race

package replog

import (
	"runtime"
	"syscall"
)

// mapFrom is the size in bytes of chunks that are worth pages of their own.
const mapFrom = 256 << 10

// newChunk returns a chunk of size bytes. Large ones lie outside the heap: the
// window is most of what a quiet process holds, and the collector lets the heap
// grow by as much again before it looks for garbage. A reader holds the chunk,
// not only its bytes, so the pages go back when nobody can look at them.
func newChunk(size int) *chunk {
	if size < mapFrom {
		return &chunk{buf: make([]byte, size)}
	}
	pages, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return &chunk{buf: make([]byte, size)} // too many mappings: the heap has larger ones
	}
	c := &chunk{buf: pages}
	runtime.AddCleanup(c, unmap, pages)
	return c
}

func unmap(pages []byte) {
	if syscall.Munmap(pages) != nil {
		// With too many mappings only the addresses stay in use.
		_ = syscall.Madvise(pages, syscall.MADV_DONTNEED)
	}
}
