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

func unmapMemory(m []byte) {
	if err := syscall.Munmap(m); err != nil {
		panic("arena: unmap a chunk: " + err.Error()) // it was not ours
	}
}
