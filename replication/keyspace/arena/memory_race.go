//go:build race

package arena

// Under the race detector, memory comes from Go's heap so that the detector sees it, chunks are
// small so that they are retired often, and freed memory is overwritten so that a late read of it
// fails a test.
const (
	defaultChunk = 64 << 10
	poisonAlways = true
)

func mapMemory(size int) ([]byte, error) { return make([]byte, size), nil }

func unmapMemory([]byte) bool { return true }
