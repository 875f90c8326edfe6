package keyspace

const (
	// treeGarbage is the part of all nodes of trees that may be garbage before some are
	// moved, thinGarbage of those in a chunk: one in so many.
	treeGarbage   = 4
	sparseGarbage = 4
	// defragEffort is how many nodes are looked at for each one that a unit has made,
	// settleStep how many at least and settleMost at most: some hundred microseconds.
	defragEffort = 8
	minDefrag    = 64
	maxDefrag    = 2 << 10
	// retryShare is what garbage must change by before a second try where nothing could be
	// done: one part in so many of what is in use.
	retryShare = 64
	// maxRetired is how many bytes of emptied chunks may wait for their end before others
	// are emptied, or a quarter of what is in use.
	maxRetired = 8 << 20
)

// defragmenter moves nodes of trees out of chunks that hold little else than garbage: it goes
// through all trees once, and then those chunks are empty.
type defragmenter struct {
	active        bool
	nextHash      uint64   // where in the order of hashes the shards begin that are still to come
	allListed     bool     // none are
	keys          []string // of the large collections of the shard before that are still to come
	rank          int      // where to go on in the last of these; or, after all, in the order of expiry
	rounds        int      // that have been gone
	failedGarbage int64    // what garbage there was when nothing could be done, in bytes
}

// defragTrees does so in proportion to the nodes that a unit has made. What the unit has
// replaced is not garbage that matters: the next one like it takes those places.
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

// defragStep looks at some nodes of one tree, or for the next one, and returns how many.
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
		looked = len(s.keys) / 8                                        // to list them is quicker than to look at a node
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

// defragKey moves some nodes of a large collection, if the key still is one, and returns
// the rank to go on with, 0 at the end.
func (k *Keyspace) defragKey(key string, rank int) (next, looked int, ok bool) {
	hash := hashOf(bytesOf(key))
	_, _, big := k.table.find(hash, bytesOf(key))
	if big == nil {
		return 0, 0, true
	}
	settled := big
	if !k.changeTrees(func() { settled, next, looked = big.Defrag(rank) }) {
		return 0, 0, false
	}
	if settled != big {
		k.table.reserve(hash, 0, 0)
		k.mu.Lock()
		k.table.unpinned(hash).bigs[key] = settled
		k.mu.Unlock()
	}
	k.nodes.Commit()
	return next, looked, true
}

// changeTrees runs a change of trees that is no unit of the log. Without memory for it there
// is none, and all stays as it is.
func (k *Keyspace) changeTrees(change func()) (ok bool) {
	k.nodes.Begin()
	var err error
	func() {
		defer recoverFull(&err)
		change()
	}()
	if err != nil {
		k.nodes.Rollback()
	}
	return err == nil
}

func (k *Keyspace) abortDefrag() {
	k.endDefrag()
	k.defrag.failedGarbage = k.trees.Stats().Garbage
}

func (k *Keyspace) endDefrag() {
	k.defrag = defragmenter{rounds: k.defrag.rounds + 1}
	k.trees.EndDefrag()
}
