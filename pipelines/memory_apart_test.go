//go:build linux && !race

package pipelines_test

// Here the keyspace lies beside Go's heap.
const (
	keyspaceOnHeap = false
	hugeValue      = 64 << 20
	hundreds       = 500_000_000
)
