//go:build linux && !race

package replog

import (
	"runtime"
	"syscall"
)

// mapFrom is the chunk size in bytes from which a chunk gets memory pages of its own.
const mapFrom = 256 << 10

// newChunk returns a chunk of size bytes. Large chunks lie outside the Go heap. The window is most
// of the memory of an idle process, and the garbage collector lets the heap grow by as much again
// before it collects. A reader references the chunk, not only its bytes, so the pages are unmapped
// only after the last reader released it.
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
	c := &chunk{buf: pages}
	runtime.AddCleanup(c, unmap, pages)
	return c
}

func unmap(pages []byte) {
	if syscall.Munmap(pages) != nil {
		// Munmap fails with too many mappings; then at least the memory is returned.
		_ = syscall.Madvise(pages, syscall.MADV_DONTNEED)
	}
}
