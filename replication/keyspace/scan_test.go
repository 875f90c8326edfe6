package keyspace

import (
	"fmt"
	"testing"
)

// A scan also visits the keys that share the position at which COUNT is reached, and the keys after
// them. Only large keyspaces have two keys with the same 48-bit position, so these positions have
// few bits.
func TestScanOfSharedPositions(t *testing.T) {
	const n = 9_000 // a few shards
	k := New(Options{})
	k.mustStage(t, sets(0, n))
	k.Publish()
	defer k.pin().unpin()
	for _, bits := range []uint{0, 1, 5, 10, 13, 20} {
		for _, count := range []int{1, 2, 10, 1000} {
			seen := map[string]int{}
			cursor := uint64(0)
			for first := true; first || cursor != 0; first = false {
				cursor = k.scan(cursor, 64-bits, count,
					func(rec record) bool { seen[rec.key()]++; return true })
			}
			for i := range n {
				if times := seen[fmt.Sprint("key:", i)]; times != 1 {
					t.Fatalf("positions of %d bits, COUNT %d: key %d was visited %d times", bits,
						count, i, times)
				}
			}
		}
	}
}
