//go:build !linux && !race

package arena

const (
	defaultChunk = maxChunk
	poisonAlways = false
)

func mapMemory(size int) ([]byte, error) { return make([]byte, size), nil }

func unmapMemory([]byte) bool { return true }
