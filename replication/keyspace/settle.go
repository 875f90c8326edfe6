package keyspace

const (
	// treeGarbage is the part of all nodes of trees that may be garbage before some are
	// moved, thinGarbage of those in a chunk: one in so many.
	treeGarbage = 4
	thinGarbage = 4
	// settleEffort is how many nodes are looked at for each one that a unit has made,
	// settleStep how many at least and settleMost at most: some hundred microseconds.
	settleEffort = 8
	settleStep   = 64
	settleMost   = 2 << 10
	// settleAgain is what garbage must change by before a second try where nothing could be
	// done: one part in so many of what is in use.
	settleAgain = 64
	// maxWaiting is how many bytes of emptied chunks may wait for their end before others
	// are emptied, or a quarter of what is in use.
	maxWaiting = 8 << 20
)

// settler moves nodes of trees out of chunks that hold little else than garbage: it goes
// through all trees once, and then those chunks are empty.
type settler struct {
	active bool
	next   uint64   // where in the order of hashes the shards begin that are still to come
	last   bool     // none are
	keys   []string // of the large collections of the shard before that are still to come
	rank   int      // where to go on in the last of these; or, after all, in the order of expiry
	rounds int      // that have been gone
	failed int64    // what garbage there was when nothing could be done, in bytes
}

// settleTrees does so in proportion to the nodes that a unit has made. What the unit has
// replaced is not garbage that matters: the next one like it takes those places.
func (k *Keyspace) settleTrees(made int, bytes int64) {
	s := &k.settler
	if s.active && k.trees.DefragHeld() {
		k.endSettle() // until the snapshot is over
	}
	if !s.active {
		if k.trees.ExcessGarbage(treeGarbage) <= bytes {
			return
		}
		m := k.trees.Stats()
		if d := m.Garbage - s.failed; s.failed > 0 && max(d, -d) < m.Live/settleAgain {
			return
		}
		if m.Retired > max(maxWaiting, m.Live/4) || !k.trees.StartDefrag(thinGarbage) {
			s.failed = m.Garbage
			return
		}
		s.active, s.failed = true, 0
	}
	for budget := min(max(settleStep, settleEffort*made), settleMost); budget > 0 && s.active; {
		budget -= k.settleSome() + 1
	}
}

// settleSome looks at some nodes of one tree, or for the next one, and returns how many.
func (k *Keyspace) settleSome() (looked int) {
	s := &k.settler
	switch n := len(s.keys); {
	case n > 0:
		next, looked, ok := k.settleKey(s.keys[n-1], s.rank)
		if !ok {
			k.giveUpSettle()
			return looked
		}
		if s.rank = next; next == 0 {
			s.keys = s.keys[:n-1]
		}
		return looked
	case !s.last:
		sh := k.table.dir.Load().shard(s.next)
		for key := range sh.bigs {
			s.keys = append(s.keys, key)
		}
		looked = len(s.keys) / 8                                // to list them is quicker than to look at a node
		s.next = (s.next>>(64-sh.depth) + 1) << (64 - sh.depth) // of depth 0: 0
		s.last = s.next == 0
	default:
		due := k.due
		if !k.settleUnit(func() { s.rank, looked = due.Defrag(s.rank) }) {
			k.giveUpSettle()
			return 0
		}
		k.due = due
		k.nodes.Commit()
		if s.rank == due.Len() {
			k.endSettle()
		}
	}
	return looked
}

// settleKey moves some nodes of a large collection, if the key still is one, and returns
// the rank to go on with, 0 at the end.
func (k *Keyspace) settleKey(key string, rank int) (next, looked int, ok bool) {
	hash := hashOf(view(key))
	_, _, big := k.table.find(hash, view(key))
	if big == nil {
		return 0, 0, true
	}
	settled := big
	if !k.settleUnit(func() { settled, next, looked = big.Defrag(rank) }) {
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

// settleUnit runs a change of trees that is no unit of the log. Without memory for it there
// is none, and all stays as it is.
func (k *Keyspace) settleUnit(change func()) (ok bool) {
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

func (k *Keyspace) giveUpSettle() {
	k.endSettle()
	k.settler.failed = k.trees.Stats().Garbage
}

func (k *Keyspace) endSettle() {
	k.settler = settler{rounds: k.settler.rounds + 1}
	k.trees.EndDefrag()
}
