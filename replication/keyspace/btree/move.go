package btree

import "rowfall/replication/keyspace/arena"

// Defrag copies nodes that lie in sparse chunks of the arena (see arena.StartDefrag), a few at a
// time: the nodes on the path to the entry of the given rank, and the leaves beside it. It returns
// the rank to continue with, which is the number of entries when all nodes have been visited, and
// the number of nodes that it has examined. It must be called in a unit; if that has failed (see
// Nodes.Err), the tree becomes empty.
func (t *Tree) Defrag(rank int) (next, examined int) {
	if t.root == 0 || rank >= t.len {
		return t.len, 0
	}
	s := t.nodes
	if s.err == nil {
		t.root, next, examined, s.err = s.moveNodes(t.root, t.len, rank)
	}
	if s.err != nil {
		t.clear()
		return 0, 0
	}
	return next, examined
}

// moveNodes does the work of Defrag under a node that has `total` entries in or under it. It
// returns the node or its replacement. Ranks are relative to the first entry under the node.
func (s *Nodes) moveNodes(
	at arena.Addr, total, rank int,
) (self arena.Addr, next, examined int, err error) {
	if s.arena.NeedsMove(at) {
		if at, _, err = s.replaceWithCopy(at); err != nil {
			return 0, 0, 0, err
		}
	}
	n := s.node(at)
	if n.isLeaf() {
		return at, total, 1, nil
	}
	leaves := n[levelOffset] == 1
	start := 0
	for i := range n.count() {
		child, count := n.childAt(i)
		moved := child
		switch {
		case !leaves && rank >= start+count:
		case !leaves:
			moved, next, examined, err = s.moveNodes(child, count, rank-start)
		case s.arena.NeedsMove(child):
			moved, _, err = s.replaceWithCopy(child)
		}
		if moved != child && err == nil {
			if at, n, err = s.writable(at); err == nil {
				n.setChild(i, moved, count)
			}
		}
		if err != nil {
			return 0, 0, 0, err
		}
		if examined > 0 {
			return at, start + next, examined + 1, nil
		}
		start += count
	}
	return at, start, n.count() + 1, nil
}
