package keyspace

const (
	// treeGarbage is the part of all nodes of trees that may be garbage before some are
	// moved, thinGarbage of those in a chunk: one in so many.
	treeGarbage = 4
	thinGarbage = 4
	// settleEffort is how many nodes are looked at for each one that a unit has made, and
	// settleStep how many at least.
	settleEffort = 8
	settleStep   = 64
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
}

// settleTrees does so in proportion to the nodes that a unit has made.
func (k *Keyspace) settleTrees(made int) {
	s := &k.settler
	if !s.active {
		if k.trees.Excess(treeGarbage) <= 0 || !k.trees.Thin(thinGarbage) {
			return
		}
		s.active = true
	}
	for budget := max(settleStep, settleEffort*made); budget > 0 && s.active; {
		budget -= k.settleSome() + 1
	}
}

// settleSome looks at some nodes of one tree, or for the next one, and returns how many.
func (k *Keyspace) settleSome() (looked int) {
	s := &k.settler
	switch n := len(s.keys); {
	case n > 0:
		key := s.keys[n-1]
		if looked, s.rank = k.settleKey(key, s.rank); s.rank == 0 {
			s.keys = s.keys[:n-1]
		}
	case !s.last:
		sh := k.table.dir.Load().shard(s.next)
		for key := range sh.bigs {
			s.keys = append(s.keys, key)
		}
		s.next = (s.next>>(64-sh.depth) + 1) << (64 - sh.depth) // of depth 0: 0
		s.last = s.next == 0
	default:
		due := k.due
		if !k.settleUnit(func() { s.rank, looked = due.Settle(s.rank) }) {
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
func (k *Keyspace) settleKey(key string, rank int) (looked, next int) {
	hash := hashOf(view(key))
	_, _, big := k.table.find(hash, view(key))
	if big == nil {
		return 0, 0
	}
	settled := big
	if !k.settleUnit(func() { settled, next, looked = big.Settle(rank) }) {
		return 0, 0
	}
	if settled != big {
		k.mu.Lock()
		k.table.unpinned(hash).bigs[key] = settled
		k.mu.Unlock()
	}
	k.nodes.Commit()
	return looked, next
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
		k.endSettle()
	}
	return err == nil
}

func (k *Keyspace) endSettle() {
	k.settler = settler{rounds: k.settler.rounds + 1}
	k.trees.EndThin()
}
