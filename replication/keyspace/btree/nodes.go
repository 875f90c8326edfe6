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

	made     []arena.Addr // by this unit, each at its slot
	bytes    int64        // that they and others that it has discarded since take
	replaced []arena.Addr // nodes of earlier units that this one has replaced
	dropped  []arena.Addr // roots that this unit has dropped
	dead     []arena.Addr // what is to be freed with all that is under it

	entry []byte   // the entry being put
	list  [][]byte // entries of nodes being made
	build node     // the node being made
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
func (s *Nodes) Made() (nodes int, bytes int64) { return len(s.made), s.bytes }

// Commit ends a unit that is kept. Nobody may find the nodes that it has replaced any more,
// but who has pinned or held the arena before.
func (s *Nodes) Commit() {
	for _, at := range s.replaced {
		s.arena.Free(at)
	}
	s.dead = append(s.dead, s.dropped...)
	s.end()
}

// Rollback ends a unit whose trees are forgotten.
func (s *Nodes) Rollback() {
	for i := len(s.made) - 1; i >= 0; i-- {
		s.arena.Drop(s.made[i])
	}
	s.end()
}

// CommitAlone ends a unit that keeps nothing but the trees it has made itself: all earlier
// ones are dropped.
func (s *Nodes) CommitAlone() {
	s.arena.FreeAll()
	for _, at := range s.made {
		s.arena.Keep(at)
	}
	s.arena.CheckAll()
	s.dead, s.replaced = nil, nil
	s.Commit()
}

// restNodes is how many numbers of nodes scratch space is kept for.
const restNodes = 64 << 10

func (s *Nodes) end() {
	s.made, s.replaced, s.dropped, s.bytes = s.made[:0], s.replaced[:0], s.dropped[:0], 0
	if cap(s.made) > restNodes {
		s.made = nil
	}
	if cap(s.replaced) > restNodes {
		s.replaced = nil
	}
	if cap(s.build) > 64*maxBytes {
		s.build = nil
	}
	if cap(s.entry) > 64*maxBytes {
		s.entry = nil
	}
}

// Drop says that a tree goes as a whole, if the unit is kept.
func (s *Nodes) Drop(t Tree) {
	if t.root != 0 {
		s.dropped = append(s.dropped, t.root)
	}
}

// Reap frees at most so many nodes of trees that have been dropped, and says whether any are left.
func (s *Nodes) Reap(budget int) (more bool) {
	for ; budget > 0 && len(s.dead) > 0; budget-- {
		at := s.dead[len(s.dead)-1]
		s.dead = s.dead[:len(s.dead)-1]
		if n := s.at(at); !n.leaf() {
			for i := range n.count() {
				kid, _ := n.kid(i)
				s.dead = append(s.dead, kid)
			}
		}
		s.arena.Free(at)
	}
	return len(s.dead) > 0
}

func (s *Nodes) at(at arena.Addr) node { return s.arena.At(at) }

// Full is what a change panics with if the arena cannot take a node: who begins units
// recovers from it, and rolls the unit back.
type Full struct{ Err error }

func (f Full) Error() string { return fmt.Sprintf("no memory for a large collection: %v", f.Err) }

// alloc makes a node of n bytes or some more for this unit.
func (s *Nodes) alloc(n int) (arena.Addr, node) {
	at, b, err := s.arena.Alloc(s.arena.Room(n))
	if err != nil {
		panic(Full{err})
	}
	s.bytes += int64(len(b))
	node(b).setSlot(len(s.made))
	s.made = append(s.made, at)
	return at, b
}

// discard gives up a node for another one in its place, or for none.
func (s *Nodes) discard(at arena.Addr) {
	n := s.at(at)
	if n.owner() != s.unit {
		s.replaced = append(s.replaced, at)
		return
	}
	i, last := n.slot(), len(s.made)-1
	s.made[i] = s.made[last]
	s.at(s.made[i]).setSlot(i)
	s.made = s.made[:last]
	s.arena.Drop(at)
}

// begin writes the head of the node being made.
func (s *Nodes) begin(level byte, count, size int) {
	need := endsAt + count*2 + size
	wide := byte(0)
	if level > 0 || size > math.MaxUint16 {
		wide, need = 1, need+count*2
	}
	if cap(s.build) < need {
		s.build = make(node, need+need/4)
	}
	s.build = s.build[:need]
	binary.LittleEndian.PutUint64(s.build, s.unit)
	binary.LittleEndian.PutUint16(s.build[countAt:], uint16(count))
	s.build[levelAt], s.build[wideAt] = level, wide
}

func (n node) setEnd(i, end int) {
	if n[wideAt] == 0 {
		binary.LittleEndian.PutUint16(n[endsAt+2*i:], uint16(end))
	} else {
		binary.LittleEndian.PutUint32(n[endsAt+4*i:], uint32(end))
	}
}

// save keeps the node that has been made.
func (s *Nodes) save() arena.Addr {
	at, n := s.alloc(len(s.build))
	copy(n[:slotAt], s.build)
	copy(n[countAt:], s.build[countAt:])
	return at
}

// make returns a new node of these entries.
func (s *Nodes) make(level byte, entries [][]byte) arena.Addr {
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	s.begin(level, len(entries), size)
	at, end := endsAt+len(entries)*s.build.width(), 0
	for i, e := range entries {
		at += copy(s.build[at:], e)
		end += len(e)
		s.build.setEnd(i, end)
	}
	return s.save()
}

// splice returns a node in place of one in which some entries, from i up to but not
// including j, are others.
func (s *Nodes) splice(at arena.Addr, i, j int, with ...[]byte) arena.Addr {
	n := s.at(at)
	was, size := n.size(), 0
	for _, e := range with {
		size += len(e)
	}
	from, to := n.start(i), n.start(j)
	delta, count := size-(to-from), n.count()+len(with)-(j-i)
	s.begin(n[levelAt], count, was+delta)
	old, body := n[endsAt+n.count()*n.width():], endsAt+count*s.build.width()
	if n[wideAt] == s.build[wideAt] {
		copy(s.build[endsAt:body], n[endsAt:endsAt+i*n.width()])
	} else {
		for k := range i {
			s.build.setEnd(k, n.end(k))
		}
	}
	copy(s.build[body:], old[:from])
	end := from
	for k, e := range with {
		end += copy(s.build[body+end:], e)
		s.build.setEnd(i+k, end)
	}
	copy(s.build[body+end:], old[to:was])
	for k := j; k < n.count(); k++ {
		s.build.setEnd(i+len(with)+k-j, n.end(k)+delta)
	}
	if n.owner() == s.unit && len(s.build) <= len(n) {
		copy(n[countAt:], s.build[countAt:])
		return at
	}
	made := s.save()
	s.discard(at)
	return made
}

// copied returns a copy of a node that this unit may change in place.
func (s *Nodes) copied(n node) (arena.Addr, node) {
	used := endsAt + n.count()*n.width() + n.size()
	to, c := s.alloc(used)
	binary.LittleEndian.PutUint64(c, s.unit)
	copy(c[countAt:], n[countAt:used])
	return to, c
}

// own returns a node that this unit may change in place.
func (s *Nodes) own(at arena.Addr) (arena.Addr, node) {
	n := s.at(at)
	if n.owner() == s.unit {
		return at, n
	}
	return s.renew(at)
}

// renew puts a copy in the place of a node.
func (s *Nodes) renew(at arena.Addr) (arena.Addr, node) {
	to, c := s.copied(s.at(at))
	s.discard(at)
	return to, c
}

// clone copies a node with all that is under it.
func (s *Nodes) clone(at arena.Addr) arena.Addr {
	to, c := s.copied(s.at(at))
	if !c.leaf() {
		for i := range c.count() {
			kid, count := c.kid(i)
			c.setKid(i, s.clone(kid), count)
		}
	}
	return to
}
