package btree

import "rowfall/replication/keyspace/arena"

// Settle moves nodes out of thin chunks of the arena, in a unit: those on the way to the
// entry of a rank, and the leaves beside it. It returns the rank to go on with, the number
// of entries at the end, and how many nodes it has looked at.
func (t *Tree) Settle(rank int) (next, looked int) {
	if t.root == 0 || rank >= t.len {
		return t.len, 0
	}
	t.root, next, looked = t.nodes.settle(t.root, t.len, rank)
	return next, looked
}

// settle does that under a node with so many entries in or under it.
func (s *Nodes) settle(at arena.Addr, total, rank int) (self arena.Addr, next, looked int) {
	if s.arena.IsThin(at) {
		at, _ = s.renew(at)
	}
	n := s.at(at)
	if n.leaf() {
		return at, total, 1
	}
	leaves := n[levelAt] == 1
	start := 0
	for i := range n.count() {
		kid, count := n.kid(i)
		moved := kid
		switch {
		case !leaves && rank >= start+count:
		case !leaves:
			moved, next, looked = s.settle(kid, count, rank-start)
		case s.arena.IsThin(kid):
			moved, _ = s.renew(kid)
		}
		if moved != kid {
			at, n = s.own(at)
			n.setKid(i, moved, count)
		}
		if looked > 0 {
			return at, start + next, looked + 1
		}
		start += count
	}
	return at, start, n.count() + 1
}
