//go:build linux && !race

package arena

import "syscall"

const (
	defaultChunk = maxChunk
	poisonAlways = false
)

func mapMemory(size int) ([]byte, error) {
	const protection = syscall.PROT_READ | syscall.PROT_WRITE
	return syscall.Mmap(-1, 0, size, protection, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// unmapMemory returns memory to the kernel and reports whether the addresses are unmapped, too. The
// kernel does not unmap memory if the process would then have too many mappings.
func unmapMemory(m []byte) bool {
	if syscall.Munmap(m) == nil {
		return true
	}
	_ = syscall.Madvise(m, syscall.MADV_DONTNEED) // if it fails, the memory stays allocated
	return false
}
