package btree

import (
	"encoding/binary"
	"fmt"
	"math"

	"rowfall/replication/keyspace/arena"
)

// Nodes holds the nodes of many trees. One goroutine changes it.
type Nodes struct {
	arena *arena.Arena
	unit  uint64 // the number of the current unit
	err   error  // why the current unit has failed

	created      []arena.Addr // nodes of this unit, each at the index in its slot field
	createdBytes int64        // bytes of all nodes of this unit, discarded ones included
	replaced     []arena.Addr // nodes of earlier units that this unit has replaced
	freedRoots   []arena.Addr // roots of the trees that this unit has freed
	unreaped     []arena.Addr // subtrees that Reap is to free

	newEntry []byte   // the encoded entry that Set inserts
	scratch  [][]byte // the entries of a node being built
	draft    node     // a node being built
	// inArena is the address of draft if that is in the arena already: a huge node is not copied.
	inArena arena.Addr
}

// NewNodes returns an empty set of nodes. The arena must have size classes and no other owner.
func NewNodes(a *arena.Arena) *Nodes { return &Nodes{arena: a} }

// Tree returns an empty tree.
func (s *Nodes) Tree() Tree { return Tree{nodes: s} }

// Begin begins a unit and returns its number, which no other unit of these Nodes has. The
// previous unit must have ended.
func (s *Nodes) Begin() uint64 {
	s.unit++
	return s.unit
}

// Err returns a FullError if the current unit has failed because the arena is full. From then on
// each change leaves an empty tree, so that no change continues with half-changed nodes. The caller
// must check Err before Commit, at the latest, and call Rollback.
func (s *Nodes) Err() error { return s.err }

// Created returns the number of nodes that the current unit has created, and about how many bytes
// it has written for them.
func (s *Nodes) Created() (nodes int, bytes int64) { return len(s.created), s.createdBytes }

// Commit ends a unit and keeps its changes. The caller must first make the replaced nodes
// unreachable for new readers; readers that pinned or held the arena before may still use them.
func (s *Nodes) Commit() {
	for _, at := range s.replaced {
		s.arena.Free(at)
	}
	s.unreaped = append(s.unreaped, s.freedRoots...)
	s.endUnit()
}

// Rollback ends a unit and frees the nodes that it has created. The trees it has made are invalid.
func (s *Nodes) Rollback() {
	for i := len(s.created) - 1; i >= 0; i-- {
		s.arena.FreeUnpublished(s.created[i])
	}
	s.endUnit()
}

// CommitReplacingAll ends a unit and keeps only the trees that the unit itself has created. It
// frees all other nodes.
func (s *Nodes) CommitReplacingAll() {
	s.arena.FreeAll()
	for _, at := range s.created {
		s.arena.Retain(at)
	}
	s.arena.RetireEmpty()
	s.unreaped, s.replaced = nil, nil
	s.Commit()
}

// maxScratchNodes is the greatest capacity of created and replaced that is kept between units.
const maxScratchNodes = 64 << 10

// endUnit resets the lists of the unit, and releases those that a large unit has grown.
func (s *Nodes) endUnit() {
	s.created, s.replaced, s.freedRoots = s.created[:0], s.replaced[:0], s.freedRoots[:0]
	s.createdBytes, s.err = 0, nil
	if cap(s.created) > maxScratchNodes {
		s.created = nil
	}
	if cap(s.replaced) > maxScratchNodes {
		s.replaced = nil
	}
	if s.inArena != 0 || cap(s.draft) > 64*maxLeafBytes {
		s.inArena, s.draft = 0, nil
	}
	if cap(s.newEntry) > 64*maxLeafBytes {
		s.newEntry = nil
		clear(s.scratch[:cap(s.scratch)]) // one of them may be the entry
	}
}

// FreeTree frees all nodes of a tree when the unit is committed. Reap does the work.
func (s *Nodes) FreeTree(t Tree) {
	if t.root != 0 {
		s.freedRoots = append(s.freedRoots, t.root)
	}
}

// Reap frees at most budget nodes of trees that were passed to FreeTree, and reports whether any
// are left. It may be called at any time, in a unit or between two.
func (s *Nodes) Reap(budget int) (more bool) {
	for ; budget > 0 && len(s.unreaped) > 0; budget-- {
		at := s.unreaped[len(s.unreaped)-1]
		s.unreaped = s.unreaped[:len(s.unreaped)-1]
		if n := s.node(at); !n.isLeaf() {
			for i := range n.count() {
				child, _ := n.childAt(i)
				s.unreaped = append(s.unreaped, child)
			}
		}
		s.arena.Free(at)
	}
	return len(s.unreaped) > 0
}

// node returns the node at an address.
func (s *Nodes) node(at arena.Addr) node { return s.arena.At(at) }

// FullError is the error of a unit for which the arena could not store a node.
type FullError struct{ Err error }

func (f FullError) Error() string { return fmt.Sprintf("allocate tree node: %v", f.Err) }

// alloc creates a node of at least n bytes in this unit. Its caller sets all but the slot.
func (s *Nodes) alloc(n int) (arena.Addr, node, error) {
	at, b, err := s.arena.Alloc(s.arena.UsableSize(n))
	if err != nil {
		return 0, nil, FullError{err}
	}
	s.createdBytes += int64(len(b))
	node(b).setSlot(len(s.created))
	s.created = append(s.created, at)
	return at, b, nil
}

// discardNode frees a node of this unit at once, and one of an earlier unit at Commit.
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

// hugeNode is the size from which nodes are built in the arena. A variable for tests.
var hugeNode = 1 << 20

// startDraft writes the header of a draft with count entries of size bytes together.
func (s *Nodes) startDraft(level byte, count, size int) (err error) {
	need := endsOffset + count*2 + size
	wide := byte(0)
	if level > 0 || size > math.MaxUint16 {
		wide, need = 1, need+count*2
	}
	switch {
	case need > hugeNode:
		if s.inArena, s.draft, err = s.alloc(need); err != nil {
			return err
		}
	case cap(s.draft) < need || s.inArena != 0:
		s.inArena, s.draft = 0, make(node, need+need/4)
	}
	s.draft = s.draft[:need]
	binary.LittleEndian.PutUint64(s.draft, s.unit)
	binary.LittleEndian.PutUint16(s.draft[countOffset:], uint16(count))
	s.draft[levelOffset], s.draft[wideOffset] = level, wide
	return nil
}

// setEnd sets where entry i ends.
func (n node) setEnd(i, end int) {
	if n[wideOffset] == 0 {
		binary.LittleEndian.PutUint16(n[endsOffset+2*i:], uint16(end))
	} else {
		binary.LittleEndian.PutUint32(n[endsOffset+4*i:], uint32(end))
	}
}

// saveDraft stores the draft as a node of this unit.
func (s *Nodes) saveDraft() (arena.Addr, error) {
	if at := s.inArena; at != 0 {
		s.inArena, s.draft = 0, nil
		return at, nil
	}
	at, n, err := s.alloc(len(s.draft))
	if err != nil {
		return 0, err
	}
	copy(n[:slotOffset], s.draft)
	copy(n[countOffset:], s.draft[countOffset:])
	return at, nil
}

// newNode creates a node with these entries.
func (s *Nodes) newNode(level byte, entries [][]byte) (arena.Addr, error) {
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	if err := s.startDraft(level, len(entries), size); err != nil {
		return 0, err
	}
	at, end := endsOffset+len(entries)*s.draft.endWidth(), 0
	for i, e := range entries {
		at += copy(s.draft[at:], e)
		end += len(e)
		s.draft.setEnd(i, end)
	}
	return s.saveDraft()
}

// replaceEntries replaces the entries from i up to but not including j by others. It returns the
// changed node, which is the old one if this unit has created that and the entries fit.
func (s *Nodes) replaceEntries(at arena.Addr, i, j int, with ...[]byte) (arena.Addr, error) {
	n := s.node(at)
	oldSize, size := n.size(), 0
	for _, e := range with {
		size += len(e)
	}
	from, to := n.start(i), n.start(j)
	delta, count := size-(to-from), n.count()+len(with)-(j-i)
	if err := s.startDraft(n[levelOffset], count, oldSize+delta); err != nil {
		return 0, err
	}
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
	copy(s.draft[body+end:], old[to:oldSize])
	for k := j; k < n.count(); k++ {
		s.draft.setEnd(i+len(with)+k-j, n.end(k)+delta)
	}
	if s.inArena == 0 && n.owner() == s.unit && len(s.draft) <= len(n) {
		copy(n[countOffset:], s.draft[countOffset:])
		return at, nil
	}
	changed, err := s.saveDraft()
	if err != nil {
		return 0, err
	}
	s.discardNode(at)
	return changed, nil
}

// copyNode returns a copy of a node that belongs to this unit, which may change it in place.
func (s *Nodes) copyNode(n node) (arena.Addr, node, error) {
	used := endsOffset + n.count()*n.endWidth() + n.size()
	to, c, err := s.alloc(used)
	if err != nil {
		return 0, nil, err
	}
	binary.LittleEndian.PutUint64(c, s.unit)
	copy(c[countOffset:], n[countOffset:used])
	return to, c, nil
}

// writable returns the node itself if it belongs to this unit, else a copy that replaces it.
func (s *Nodes) writable(at arena.Addr) (arena.Addr, node, error) {
	n := s.node(at)
	if n.owner() == s.unit {
		return at, n, nil
	}
	return s.replaceWithCopy(at)
}

// replaceWithCopy copies a node and discards the original.
func (s *Nodes) replaceWithCopy(at arena.Addr) (arena.Addr, node, error) {
	to, c, err := s.copyNode(s.node(at))
	if err != nil {
		return 0, nil, err
	}
	s.discardNode(at)
	return to, c, nil
}

// cloneSubtree copies a node and all nodes under it.
func (s *Nodes) cloneSubtree(at arena.Addr) (arena.Addr, error) {
	to, c, err := s.copyNode(s.node(at))
	if err != nil || c.isLeaf() {
		return to, err
	}
	for i := range c.count() {
		child, count := c.childAt(i)
		clone, err := s.cloneSubtree(child)
		if err != nil {
			return 0, err
		}
		c.setChild(i, clone, count)
	}
	return to, nil
}
