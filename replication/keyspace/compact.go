package keyspace

import "rowfall/replication/keyspace/arena"

const (
	// Compaction starts if more than 1/garbageShare of all records' memory is garbage.
	garbageShare = 12
	// compactEffort is how many bytes are examined for each byte written. With 1/12 garbage, evenly
	// spread, about 6 are needed.
	compactEffort = 8
	// One Publish examines at least minCompact bytes or none, and at most maxCompact unless the
	// unit was larger. maxCompact is about 2,500 rows, which takes 150 to 300 microseconds.
	minCompact = 16 << 10
	maxCompact = 256 << 10
	// movesPerLock is how many slots change while the write lock is held once.
	movesPerLock = 64
)

// compaction is the state of compacting the records' arena.
type compaction struct {
	debt  int // bytes still to examine
	moved []movedRecord
}

// movedRecord is a record with a copy at another address.
type movedRecord struct {
	hash     uint64
	slot     int
	from, to arena.Addr
}

// compact moves records out of chunks with much garbage, in proportion to the bytes that a unit has
// written.
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

// moveRecords examines about budget bytes of the chunk being compacted, moves the records in use,
// and returns the number of bytes examined.
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
			break // the arena is full: the record stays where it is
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
