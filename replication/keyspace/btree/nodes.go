package btree

import (
	"encoding/binary"
	"fmt"
	"math"

	"rowfall/replication/keyspace/arena"
)

// Nodes is where the nodes of many trees lie. One goroutine changes them.
type Nodes struct {
	arena *arena.Arena
	unit  uint64 // the one that has begun

	created      []arena.Addr // by this unit, each at its slot
	createdBytes int64        // that they and others that it has discarded since take
	replaced     []arena.Addr // nodes of earlier units that this one has replaced
	freedRoots   []arena.Addr // roots that this unit has dropped
	unreaped     []arena.Addr // what is to be freed with all that is under it

	newEntry []byte   // the entry being put
	scratch  [][]byte // entries of nodes being made
	draft    node     // the node being made
}

// NewNodes returns a place for nodes, in an arena of slabs that nobody else uses.
func NewNodes(a *arena.Arena) *Nodes { return &Nodes{arena: a} }

// Tree returns an empty tree.
func (s *Nodes) Tree() Tree { return Tree{nodes: s} }

// Begin begins a unit and returns its number, which no other unit of these nodes has. The
// one before has ended.
func (s *Nodes) Begin() uint64 {
	s.unit++
	return s.unit
}

// Made returns how many nodes the unit has made so far, and about how many bytes it has
// written for that.
func (s *Nodes) Created() (nodes int, bytes int64) { return len(s.created), s.createdBytes }

// Commit ends a unit that is kept. Nobody may find the nodes that it has replaced any more,
// but who has pinned or held the arena before.
func (s *Nodes) Commit() {
	for _, at := range s.replaced {
		s.arena.Free(at)
	}
	s.unreaped = append(s.unreaped, s.freedRoots...)
	s.endUnit()
}

// Rollback ends a unit whose trees are forgotten.
func (s *Nodes) Rollback() {
	for i := len(s.created) - 1; i >= 0; i-- {
		s.arena.FreeUnpublished(s.created[i])
	}
	s.endUnit()
}

// CommitAlone ends a unit that keeps nothing but the trees it has made itself: all earlier
// ones are dropped.
func (s *Nodes) CommitReplacingAll() {
	s.arena.FreeAll()
	for _, at := range s.created {
		s.arena.Retain(at)
	}
	s.arena.RetireEmpty()
	s.unreaped, s.replaced = nil, nil
	s.Commit()
}

// restNodes is how many numbers of nodes scratch space is kept for.
const maxScratchNodes = 64 << 10

func (s *Nodes) endUnit() {
	s.created, s.replaced, s.freedRoots, s.createdBytes = s.created[:0], s.replaced[:0], s.freedRoots[:0], 0
	if cap(s.created) > maxScratchNodes {
		s.created = nil
	}
	if cap(s.replaced) > maxScratchNodes {
		s.replaced = nil
	}
	if cap(s.draft) > 64*maxLeafBytes {
		s.draft = nil
	}
	if cap(s.newEntry) > 64*maxLeafBytes {
		s.newEntry = nil
	}
}

// Drop says that a tree goes as a whole, if the unit is kept.
func (s *Nodes) FreeTree(t Tree) {
	if t.root != 0 {
		s.freedRoots = append(s.freedRoots, t.root)
	}
}

// Reap frees at most so many nodes of trees that have been dropped, and says whether any are left.
func (s *Nodes) Reap(budget int) (more bool) {
	for ; budget > 0 && len(s.unreaped) > 0; budget-- {
		at := s.unreaped[len(s.unreaped)-1]
		s.unreaped = s.unreaped[:len(s.unreaped)-1]
		if n := s.node(at); !n.isLeaf() {
			for i := range n.count() {
				kid, _ := n.childAt(i)
				s.unreaped = append(s.unreaped, kid)
			}
		}
		s.arena.Free(at)
	}
	return len(s.unreaped) > 0
}

func (s *Nodes) node(at arena.Addr) node { return s.arena.At(at) }

// Full is what a change panics with if the arena cannot take a node: who begins units
// recovers from it, and rolls the unit back.
type FullError struct{ Err error }

func (f FullError) Error() string { return fmt.Sprintf("no memory for a large collection: %v", f.Err) }

// alloc makes a node of n bytes or some more for this unit.
func (s *Nodes) alloc(n int) (arena.Addr, node) {
	at, b, err := s.arena.Alloc(s.arena.UsableSize(n))
	if err != nil {
		panic(FullError{err})
	}
	s.createdBytes += int64(len(b))
	node(b).setSlot(len(s.created))
	s.created = append(s.created, at)
	return at, b
}

// discard gives up a node for another one in its place, or for none.
func (s *Nodes) discardNode(at arena.Addr) {
	n := s.node(at)
	if n.owner() != s.unit {
		s.replaced = append(s.replaced, at)
		return
	}
	i, last := n.slot(), len(s.created)-1
	s.created[i] = s.created[last]
	s.node(s.created[i]).setSlot(i)
	s.created = s.created[:last]
	s.arena.FreeUnpublished(at)
}

// begin writes the head of the node being made.
func (s *Nodes) startDraft(level byte, count, size int) {
	need := endsOffset + count*2 + size
	wide := byte(0)
	if level > 0 || size > math.MaxUint16 {
		wide, need = 1, need+count*2
	}
	if cap(s.draft) < need {
		s.draft = make(node, need+need/4)
	}
	s.draft = s.draft[:need]
	binary.LittleEndian.PutUint64(s.draft, s.unit)
	binary.LittleEndian.PutUint16(s.draft[countOffset:], uint16(count))
	s.draft[levelOffset], s.draft[wideOffset] = level, wide
}

func (n node) setEnd(i, end int) {
	if n[wideOffset] == 0 {
		binary.LittleEndian.PutUint16(n[endsOffset+2*i:], uint16(end))
	} else {
		binary.LittleEndian.PutUint32(n[endsOffset+4*i:], uint32(end))
	}
}

// save keeps the node that has been made.
func (s *Nodes) saveDraft() arena.Addr {
	at, n := s.alloc(len(s.draft))
	copy(n[:slotOffset], s.draft)
	copy(n[countOffset:], s.draft[countOffset:])
	return at
}

// make returns a new node of these entries.
func (s *Nodes) newNode(level byte, entries [][]byte) arena.Addr {
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	s.startDraft(level, len(entries), size)
	at, end := endsOffset+len(entries)*s.draft.endWidth(), 0
	for i, e := range entries {
		at += copy(s.draft[at:], e)
		end += len(e)
		s.draft.setEnd(i, end)
	}
	return s.saveDraft()
}

// splice returns a node in place of one in which some entries, from i up to but not
// including j, are others.
func (s *Nodes) replaceEntries(at arena.Addr, i, j int, with ...[]byte) arena.Addr {
	n := s.node(at)
	was, size := n.size(), 0
	for _, e := range with {
		size += len(e)
	}
	from, to := n.start(i), n.start(j)
	delta, count := size-(to-from), n.count()+len(with)-(j-i)
	s.startDraft(n[levelOffset], count, was+delta)
	old, body := n[endsOffset+n.count()*n.endWidth():], endsOffset+count*s.draft.endWidth()
	if n[wideOffset] == s.draft[wideOffset] {
		copy(s.draft[endsOffset:body], n[endsOffset:endsOffset+i*n.endWidth()])
	} else {
		for k := range i {
			s.draft.setEnd(k, n.end(k))
		}
	}
	copy(s.draft[body:], old[:from])
	end := from
	for k, e := range with {
		end += copy(s.draft[body+end:], e)
		s.draft.setEnd(i+k, end)
	}
	copy(s.draft[body+end:], old[to:was])
	for k := j; k < n.count(); k++ {
		s.draft.setEnd(i+len(with)+k-j, n.end(k)+delta)
	}
	if n.owner() == s.unit && len(s.draft) <= len(n) {
		copy(n[countOffset:], s.draft[countOffset:])
		return at
	}
	made := s.saveDraft()
	s.discardNode(at)
	return made
}

// copied returns a copy of a node that this unit may change in place.
func (s *Nodes) copyNode(n node) (arena.Addr, node) {
	used := endsOffset + n.count()*n.endWidth() + n.size()
	to, c := s.alloc(used)
	binary.LittleEndian.PutUint64(c, s.unit)
	copy(c[countOffset:], n[countOffset:used])
	return to, c
}

// own returns a node that this unit may change in place.
func (s *Nodes) writable(at arena.Addr) (arena.Addr, node) {
	n := s.node(at)
	if n.owner() == s.unit {
		return at, n
	}
	return s.replaceWithCopy(at)
}

// renew puts a copy in the place of a node.
func (s *Nodes) replaceWithCopy(at arena.Addr) (arena.Addr, node) {
	to, c := s.copyNode(s.node(at))
	s.discardNode(at)
	return to, c
}

// clone copies a node with all that is under it.
func (s *Nodes) cloneSubtree(at arena.Addr) arena.Addr {
	to, c := s.copyNode(s.node(at))
	if !c.isLeaf() {
		for i := range c.count() {
			kid, count := c.childAt(i)
			c.setChild(i, s.cloneSubtree(kid), count)
		}
	}
	return to
}
