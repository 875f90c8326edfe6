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
	compactStep = 16 << 10
	compactMost = 256 << 10
	// movesAtOnce is how many slots change in one hold of the write lock.
	movesAtOnce = 64
)

// mover is the state of compaction.
type mover struct {
	owed int // bytes to look at
	list []moving
}

// moving is a record with a copy at another address.
type moving struct {
	hash     uint64
	slot     int
	from, to arena.Addr
}

// compact takes records out of chunks with much garbage, in proportion to what
// a unit has written.
func (k *Keyspace) compact(written int) {
	m := &k.moves
	excess := k.arena.ExcessGarbage(garbageShare)
	if excess <= 0 {
		m.owed = 0
		return
	}
	effort, most := compactEffort, compactMost
	if k.arena.ExcessGarbage(garbageShare/2) > 0 {
		effort, most = 2*compactEffort, max(most, 4*written)
	}
	if m.owed += effort * written; m.owed < compactStep {
		return
	}
	for budget := min(m.owed, most); budget > 0; {
		if !k.arena.SelectVictim(2 * garbageShare) {
			m.owed = 0
			return
		}
		n := k.moveSome(budget)
		budget -= n
		m.owed -= n
	}
	m.owed = min(m.owed, most)
}

// moveSome looks at about so many bytes of the chunk being compacted, and
// returns how many it were.
func (k *Keyspace) moveSome(budget int) (looked int) {
	m := &k.moves
	m.list = m.list[:0]
	dir := k.table.dir.Load()
	for len(m.list) < movesAtOnce && looked < budget {
		from, b, size, ok := k.arena.NextRecord()
		if !ok {
			break
		}
		looked += size
		if b == nil {
			continue
		}
		rec := record(text(b))
		hash := hashOf(view(rec.key()))
		i, used := dir.shard(hash).locateAt(hash, from)
		if !used {
			continue
		}
		to, err := k.arena.Move(b)
		if err != nil {
			break // it stays where it is
		}
		m.list = append(m.list, moving{hash, i, from, to})
	}
	if len(m.list) > 0 {
		k.mu.Lock()
		for _, e := range m.list {
			k.table.move(e.hash, e.slot, e.to)
		}
		k.mu.Unlock()
	}
	for _, e := range m.list {
		k.arena.Free(e.from)
	}
	return max(looked, 1)
}
