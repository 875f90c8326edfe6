package btree

import "rowfall/replication/keyspace/arena"

// Settle moves nodes out of thin chunks of the arena, in a unit: those on the way to the
// entry of a rank, and the leaves beside it. It returns the rank to go on with, the number
// of entries at the end, and how many nodes it has looked at.
func (t *Tree) Defrag(rank int) (next, looked int) {
	if t.root == 0 || rank >= t.len {
		return t.len, 0
	}
	t.root, next, looked = t.nodes.moveNodes(t.root, t.len, rank)
	return next, looked
}

// settle does that under a node with so many entries in or under it.
func (s *Nodes) moveNodes(at arena.Addr, total, rank int) (self arena.Addr, next, looked int) {
	if s.arena.NeedsMove(at) {
		at, _ = s.replaceWithCopy(at)
	}
	n := s.node(at)
	if n.isLeaf() {
		return at, total, 1
	}
	leaves := n[levelOffset] == 1
	start := 0
	for i := range n.count() {
		kid, count := n.childAt(i)
		moved := kid
		switch {
		case !leaves && rank >= start+count:
		case !leaves:
			moved, next, looked = s.moveNodes(kid, count, rank-start)
		case s.arena.NeedsMove(kid):
			moved, _ = s.replaceWithCopy(kid)
		}
		if moved != kid {
			at, n = s.writable(at)
			n.setChild(i, moved, count)
		}
		if looked > 0 {
			return at, start + next, looked + 1
		}
		start += count
	}
	return at, start, n.count() + 1
}
