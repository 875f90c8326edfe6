package keyspace_test

import (
	"math/rand/v2"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// When a command fills the arena of trees, its unit fails with that error only, and all keys stay
// as they were. A second keyspace has room for everything and shows what they must be.
func TestTreesFull(t *testing.T) {
	for _, chunks := range []int{4, 9, 20} {
		k := keyspace.NewWithTrees(
			arena.Options{ChunkSize: 16 << 10, MaxChunks: chunks, Poison: true})
		roomy := keyspace.New(keyspace.Options{})
		c := traffic{r: rand.New(rand.NewPCG(1, uint64(chunks))), wide: 2000}
		full := 0
		for range 6000 {
			var unit []byte
			for range 1 + c.r.IntN(3) {
				unit = resp.AppendCommand(unit, c.command()...)
			}
			err := k.Stage(unit)
			if keyspace.IsFull(err) {
				full++
				if got, want := dump(t, k), dump(t, roomy); got != want {
					t.Fatalf("%.200q changed keys although it failed: %v", unit, err)
				}
				if err := k.Stray(); err != nil {
					t.Fatalf("after %.200q: %v", unit, err)
				}
				unit = resp.AppendCommand(nil, "DEL", c.key(c.one("h", "l", "s", "t", "x", "z")))
				err = k.Stage(unit)
			}
			other := roomy.Stage(unit)
			if keyspace.IsFull(err) {
				roomy.Discard()
				continue
			}
			if (err == nil) != (other == nil) {
				t.Fatalf("%.200q gives %v, and with room %v", unit, err, other)
			}
			k.Publish()
			roomy.Publish()
		}
		if full < 10 {
			t.Errorf("with %d chunks only %d units found the arena full", chunks, full)
		}
		t.Logf("%d units found the arena of %d chunks full", full, chunks)
	}
}
