package keyspace

const (
	// Defragmentation starts if more than 1/treeGarbage of the tree nodes' memory is garbage. It
	// empties the chunks of which more than 1/sparseGarbage is garbage.
	treeGarbage   = 4
	sparseGarbage = 4
	// defragEffort is how many nodes are examined for each node that a unit has created, within
	// minDefrag and maxDefrag. maxDefrag takes some hundred microseconds.
	defragEffort = 8
	minDefrag    = 64
	maxDefrag    = 2 << 10
	// After an attempt that could do nothing, the next one waits until garbage has changed by
	// 1/retryShare of the memory in use.
	retryShare = 64
	// maxRetired is how many bytes of emptied chunks may wait for readers before no further chunks
	// are emptied. A quarter of the memory in use is allowed in any case.
	maxRetired = 8 << 20
)

// defragmenter moves tree nodes out of chunks that hold much garbage (sparse chunks). It walks over
// all trees once, after which those chunks are empty.
type defragmenter struct {
	active    bool
	nextHash  uint64   // start of the next shard to list, in hash order
	allListed bool     // all shards have been listed
	keys      []string // large collections of the last listed shard still to do
	// rank is where to continue in the last of keys or, after all collections, in the expiry index.
	rank          int
	rounds        int   // number of finished or aborted rounds
	failedGarbage int64 // garbage in bytes when the last attempt could do nothing
}

// defragTrees moves nodes in proportion to made, the number of nodes that a unit has created.
// Garbage up to bytes, the size of those nodes, is ignored: the next similar unit reuses that room.
func (k *Keyspace) defragTrees(made int, bytes int64) {
	s := &k.defrag
	if s.active && k.trees.DefragHeld() {
		k.endDefrag() // until the snapshot is over
	}
	if !s.active {
		if k.trees.ExcessGarbage(treeGarbage) <= bytes {
			return
		}
		m := k.trees.Stats()
		if d := m.Garbage - s.failedGarbage; s.failedGarbage > 0 && max(d, -d) < m.Live/retryShare {
			return
		}
		if m.Retired > max(maxRetired, m.Live/4) || !k.trees.StartDefrag(sparseGarbage) {
			s.failedGarbage = m.Garbage
			return
		}
		s.active, s.failedGarbage = true, 0
	}
	for budget := min(max(minDefrag, defragEffort*made), maxDefrag); budget > 0 && s.active; {
		budget -= k.defragStep() + 1
	}
}

// defragStep examines some nodes of one tree, or lists the next shard, and returns the number of
// nodes examined.
func (k *Keyspace) defragStep() (looked int) {
	s := &k.defrag
	switch n := len(s.keys); {
	case n > 0:
		next, looked, ok := k.defragKey(s.keys[n-1], s.rank)
		if !ok {
			k.abortDefrag()
			return looked
		}
		if s.rank = next; next == 0 {
			s.keys = s.keys[:n-1]
		}
		return looked
	case !s.allListed:
		sh := k.table.dir.Load().shard(s.nextHash)
		for key := range sh.bigs {
			s.keys = append(s.keys, key)
		}
		// Listing a key is quicker than examining a node.
		looked = len(s.keys) / 8
		s.nextHash = (s.nextHash>>(64-sh.depth) + 1) << (64 - sh.depth) // of depth 0: 0
		s.allListed = s.nextHash == 0
	default:
		due := k.expiryIndex
		if !k.changeTrees(func() { s.rank, looked = due.Defrag(s.rank) }) {
			k.abortDefrag()
			return 0
		}
		k.expiryIndex = due
		k.nodes.Commit()
		if s.rank == due.Len() {
			k.endDefrag()
		}
	}
	return looked
}

// defragKey moves some nodes of a large collection. next is the rank to continue with, or 0 at the
// end or if key is not a large collection any more.
func (k *Keyspace) defragKey(key string, rank int) (next, looked int, ok bool) {
	hash := hashOf(bytesOf(key))
	_, _, big := k.table.find(hash, bytesOf(key))
	if big == nil {
		return 0, 0, true
	}
	moved := big
	if !k.changeTrees(func() { moved, next, looked = big.Defrag(rank) }) {
		return 0, 0, false
	}
	if moved != big {
		k.table.reserve(hash, 0, 0)
		k.mu.Lock()
		k.table.unpinned(hash).bigs[key] = moved
		k.mu.Unlock()
	}
	k.nodes.Commit()
	return next, looked, true
}

// changeTrees runs a change of trees that does not belong to a unit. If the arena is full, it
// undoes the change and returns false.
func (k *Keyspace) changeTrees(change func()) (ok bool) {
	k.nodes.Begin()
	change()
	if k.nodes.Err() != nil {
		k.nodes.Rollback()
		return false
	}
	return true
}

// abortDefrag ends the round and remembers how much garbage there was, so that the next one waits.
func (k *Keyspace) abortDefrag() {
	k.endDefrag()
	k.defrag.failedGarbage = k.trees.Stats().Garbage
}

// endDefrag ends the round.
func (k *Keyspace) endDefrag() {
	k.defrag = defragmenter{rounds: k.defrag.rounds + 1}
	k.trees.EndDefrag()
}
