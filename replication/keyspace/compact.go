package keyspace

import "rowfall/replication/keyspace/arena"

const (
	// garbageShare is the part of all records that may be garbage before
	// compaction begins: one in so many.
	garbageShare = 12
	// compactEffort is how many bytes are looked at for each byte written.
	// With one part in 12 garbage, evenly spread, some 6 are needed.
	compactEffort = 8
	// One Publish looks at compactStep bytes or more, or at none, and at
	// compactMost if it has not written much itself: some 2,500 rows, which
	// take 150 to 300 microseconds.
	minCompact = 16 << 10
	maxCompact = 256 << 10
	// movesPerLock is how many slots change in one hold of the write lock.
	movesPerLock = 64
)

// compaction is the state of compaction.
type compaction struct {
	debt  int // bytes to look at
	moved []movedRecord
}

// movedRecord is a record with a copy at another address.
type movedRecord struct {
	hash     uint64
	slot     int
	from, to arena.Addr
}

// compact takes records out of chunks with much garbage, in proportion to what
// a unit has written.
func (k *Keyspace) compact(written int) {
	m := &k.compaction
	excess := k.arena.ExcessGarbage(garbageShare)
	if excess <= 0 {
		m.debt = 0
		return
	}
	effort, most := compactEffort, maxCompact
	if k.arena.ExcessGarbage(garbageShare/2) > 0 {
		effort, most = 2*compactEffort, max(most, 4*written)
	}
	if m.debt += effort * written; m.debt < minCompact {
		return
	}
	for budget := min(m.debt, most); budget > 0; {
		if !k.arena.SelectVictim(2 * garbageShare) {
			m.debt = 0
			return
		}
		n := k.moveRecords(budget)
		budget -= n
		m.debt -= n
	}
	m.debt = min(m.debt, most)
}

// moveRecords looks at about so many bytes of the chunk being compacted, and
// returns how many it were.
func (k *Keyspace) moveRecords(budget int) (looked int) {
	m := &k.compaction
	m.moved = m.moved[:0]
	dir := k.table.dir.Load()
	for len(m.moved) < movesPerLock && looked < budget {
		from, b, size, ok := k.arena.NextRecord()
		if !ok {
			break
		}
		looked += size
		if b == nil {
			continue
		}
		rec := record(stringOf(b))
		hash := hashOf(bytesOf(rec.key()))
		i, used := dir.shard(hash).locateAt(hash, from)
		if !used {
			continue
		}
		to, err := k.arena.Move(b)
		if err != nil {
			break // it stays where it is
		}
		m.moved = append(m.moved, movedRecord{hash, i, from, to})
	}
	if len(m.moved) > 0 {
		k.mu.Lock()
		for _, e := range m.moved {
			k.table.move(e.hash, e.slot, e.to)
		}
		k.mu.Unlock()
	}
	for _, e := range m.moved {
		k.arena.Free(e.from)
	}
	return max(looked, 1)
}
