//go:build linux && !race

package arena

import "syscall"

const (
	defaultChunk = maxChunk
	poisonAlways = false
)

func mapMemory(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// unmapMemory gives memory back, and says whether its addresses are free, too. The
// kernel refuses that when it would leave the process with too many mappings.
func unmapMemory(m []byte) bool {
	if syscall.Munmap(m) == nil {
		return true
	}
	_ = syscall.Madvise(m, syscall.MADV_DONTNEED) // at worst it stays as it is
	return false
}
