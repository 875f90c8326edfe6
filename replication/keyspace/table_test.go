package keyspace

import (
	"fmt"
	"testing"

	"rowfall/replication/resp"
)

// sets is a unit of SETs of keys from..to-1.
func sets(from, to int) (unit []byte) {
	for i := from; i < to; i++ {
		unit = resp.AppendCommand(unit, "SET", fmt.Sprint("key:", i), fmt.Sprint(i))
	}
	return unit
}

func (k *Keyspace) mustStage(t *testing.T, unit []byte) {
	t.Helper()
	if err := k.Stage(unit); err != nil {
		t.Fatal(err)
	}
}

// checkTable looks up all keys below n, and checks that the directory has a suitable size.
func (k *Keyspace) checkTable(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if v, ok := k.Get(fmt.Sprint("key:", i)); !ok || string(v) != fmt.Sprint(i) {
			t.Fatalf("key %d is %q, %v", i, v, ok)
		}
	}
	shards := 0
	k.table.dir.Load().each(func(*shard) bool { shards++; return true })
	// Shards are half full after a split. If shards of equal size fill up together, some are split
	// before others.
	if most, entries := 4*n/maxShardKeys+2, len(k.table.dir.Load().shards); k.Len() != n ||
		shards > most ||
		entries > 4*most {
		t.Errorf("%d keys of %d in %d shards, a directory of %d", k.Len(), n, shards, entries)
	}
}

// A shard's reservation is divided when the shard is split. If both halves kept all of it, a unit
// that adds 3500 keys to one shard would split it endlessly, until the directory used all memory.
func TestSplitDividesReservation(t *testing.T) {
	table := New(Options{}).table
	s := table.dir.Load().shard(0)
	s.reserved, s.reservedFor = maxShardKeys, 7
	table.split(0, s)
	low, high := table.dir.Load().shard(0), table.dir.Load().shard(1<<63)
	if low.reserved+high.reserved != maxShardKeys || low.reserved != high.reserved ||
		low.reservedFor != 7 ||
		high.reservedFor != 7 {
		t.Fatalf("%d and %d of %d keys are reserved", low.reserved, high.reserved, maxShardKeys)
	}

	for _, c := range []struct {
		before, added int
		how           string
	}{
		{0, maxShardKeys, ""},
		{0, 8_000, ""},
		{0, 8_000, "discarded before"},
		{0, 25_000, ""},
		{1, 8_000, "held by a snapshot"},
		{3_000, 8_000, ""},
		{6_000, 8_000, "after FLUSHALL"},
		{3_000, 25_000, "held by a snapshot"},
	} {
		t.Run(fmt.Sprintf("%d on %d %s", c.added, c.before, c.how), func(t *testing.T) {
			k := New(Options{})
			k.mustStage(t, sets(0, c.before))
			k.Publish()
			unit := sets(c.before, c.before+c.added)
			switch c.how {
			case "held by a snapshot":
				held := k.Snapshot()
				defer func() {
					n := 0
					if err := held.Each(func(Entry) error { n++; return nil }); err != nil ||
						n != c.before {
						t.Errorf("the snapshot has %d keys of %d, %v", n, c.before, err)
					}
				}()
			case "discarded before":
				for range 3 {
					k.mustStage(t, unit)
					k.Discard()
				}
			case "after FLUSHALL":
				unit = append(resp.AppendCommand(nil, "FLUSHALL"), sets(0, c.before+c.added)...)
			}
			k.mustStage(t, unit)
			k.Publish()
			k.checkTable(t, c.before+c.added)
		})
	}
}

// A follower stages everything that one read of its link returned as one unit: 256 KiB of small
// commands are the first unit of an empty node.
func TestReadOfAFollowerOnEmpty(t *testing.T) {
	n, unit := 0, []byte{}
	for ; len(unit) < 256<<10; n++ {
		unit = append(unit, sets(n, n+1)...)
	}
	k := New(Options{})
	k.mustStage(t, unit)
	k.Publish()
	k.checkTable(t, n)
}

// Every key is found after so many splits that new tags were computed, and seek finds it by its
// hash.
func TestSplitsWithNewTags(t *testing.T) {
	const n = 20_000
	k := New(Options{})
	k.mustStage(t, sets(0, n))
	k.Publish()
	table := k.table
	based := map[uint]bool{}
	for depth := range uint(tagPeriod + 3) {
		for prefix := range uint64(1) << depth {
			hash := prefix << (64 - depth)
			if s := table.dir.Load().shard(hash); s.depth == depth {
				table.split(hash, s)
			}
		}
	}
	table.dir.Load().each(func(s *shard) bool { based[s.base] = true; return true })
	if len(based) != 1 || !based[firstNewDepth] {
		t.Errorf("the tags begin at the bits %v of the hashes", based)
	}
	for i := range n {
		key := fmt.Sprint("key:", i)
		if v, ok := k.Get(key); !ok || string(v) != fmt.Sprint(i) {
			t.Fatalf("%s is %q, %v", key, v, ok)
		}
		hash := hashOf([]byte(key))
		s := table.dir.Load().shard(hash)
		j := table.seek(s, hash)
		if j == s.slots.len() || table.hashAt(s.slots.at(j).at()) != hash {
			t.Fatalf("%s is not the first key from its hash on", key)
		}
		if _, ok := k.Get(fmt.Sprint("none:", i)); ok {
			t.Fatalf("a key that was not set is found")
		}
	}
}
