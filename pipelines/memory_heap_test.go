//go:build !linux || race

package pipelines_test

// Here the keyspace is part of Go's heap. Under the race detector large values take minutes.
const (
	keyspaceOnHeap = true
	hugeValue      = 32 << 20
	hundreds       = 300_000_000
)
