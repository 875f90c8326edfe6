package value

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"rowfall/replication/keyspace/btree"
)

// Bounds of the packed form. A row-shaped hash is written whole far more often
// than field by field, so hashes stay packed longest.
const (
	maxPackedFields     = 256
	maxPackedFieldBytes = 64 << 10
	maxPackedMembers    = 128
	maxPackedBytes      = 8 << 10
)

// Editor makes new values out of old ones. It is used again and again by one
// goroutine. The result of an edit is in Big, or else in Buf behind what the
// caller had put there.
type Editor struct {
	// Nodes is where the trees of large collections lie. An edit belongs to the unit
	// that has begun there.
	Nodes *btree.Nodes
	// Buf receives packed bytes; the caller may put a header there first.
	Buf []byte
	// Big is the result if it is a large collection.
	Big *Big
	// From is the large collection that Big was made from, whose nodes have become Big's;
	// nil: none.
	BigSource *Big

	// Shapes are those of the hashes; nil: every hash holds its names.
	Shapes *Shapes

	base   int // where the payload starts in Buf
	fields int // of a packed hash in Buf, -1: not one
	key    []byte
	pairs  [][]byte
	all    [][]byte
	table  [2 * maxPackedFields]uint16
}

// Reset lets go of the last result and of the last edit's arguments.
func (e *Editor) Reset() {
	e.Big, e.BigSource = nil, nil // what the unit has become of is known by now
	e.pairs, e.all = ResetScratch(e.pairs), ResetScratch(e.all)
}

// restWidth is for how many arguments scratch space is kept.
const maxScratch = 1024

// Rest empties scratch space for the next unit, so that it holds no unit's bytes.
// All of it is cleared each time: what a wide command needed is let go of, or every
// later unit would pay for it.
func ResetScratch(scratch [][]byte) [][]byte {
	if cap(scratch) > maxScratch {
		return nil
	}
	clear(scratch[:cap(scratch)])
	return scratch[:0]
}

func (e *Editor) start() {
	e.Discard()
	e.base, e.fields = len(e.Buf), -1
}

// Abandon ends an edit whose result nobody wants, and is nothing after Take.
func (e *Editor) Discard() {
	if e.BigSource == nil {
		e.FreeBig(e.Big)
	}
	e.Big, e.BigSource = nil, nil
}

// Take returns the large collection of the result, nil if it is packed, to be put in the
// place of another one, which goes unless it was made from that.
func (e *Editor) TakeBig(instead *Big) *Big {
	if instead != e.BigSource {
		e.FreeBig(instead)
	}
	b := e.Big
	e.Big, e.BigSource = nil, nil
	return b
}

// Len returns the number of fields, members, items or entries of the result.
func (e *Editor) Len() int {
	if e.Big != nil {
		return e.Big.members.Len()
	}
	if e.fields >= 0 {
		return e.fields
	}
	return packedLen(e.Buf[e.base:])
}

func (e *Editor) setCount(n int) { binary.LittleEndian.PutUint16(e.Buf[e.base:], uint16(n)) }

// load begins an edit with the packed bytes of old, or an empty collection.
func (e *Editor) startPacked(old Value) {
	e.start()
	if len(old.packed) == 0 {
		e.Buf = append(e.Buf, 0, 0)
		return
	}
	e.Buf = append(e.Buf, old.packed...)
}

// splice takes the bytes from start to end (offsets in the payload) out.
func (e *Editor) removeRange(start, end int) {
	e.Buf = append(e.Buf[:e.base+start], e.Buf[e.base+end:]...)
	e.setCount(packedLen(e.Buf[e.base:]) - 1)
}

// grow begins the edit of a large collection: the one that old is, or the
// packed bytes in Buf turned into one.
func (e *Editor) toBig(kind Kind, old Value) *Big {
	if old.big != nil {
		return e.editBig(old.big)
	}
	b := &Big{members: e.Nodes.Tree(), scores: e.Nodes.Tree()}
	e.Big = b
	v := Value{kind: kind, packed: e.Buf[e.base:], shape: old.shape}
	switch kind {
	case Hash:
		v.Fields(func(f, val []byte) bool { e.setKey(&b.members, f, val); return true })
	case Set:
		v.Members(func(m []byte) bool { e.setKey(&b.members, m, nil); return true })
	case SortedSet:
		v.Scores(func(m []byte, score float64) bool { e.setBigScore(m, score); return true })
	case List:
		v.Items(func(it []byte) bool { e.pushBig(it, false); return true })
	case Stream:
		v.Entries(func(s StreamEntry) bool { b.members.Set(s.ID.appendTo(nil), s.pairs); return true })
	}
	e.Buf = e.Buf[:e.base]
	return b
}

// changed begins the edit of a large collection.
func (e *Editor) editBig(old *Big) *Big {
	b := *old
	e.Big, e.BigSource = &b, old
	return e.Big
}

// Move makes a large collection, or nil, the result as it is.
func (e *Editor) ReuseBig(b *Big) { e.Big, e.BigSource = b, b }

// Copy makes the result a large collection, or nil, with the same content and nodes of its own.
func (e *Editor) CloneBig(b *Big) {
	e.Discard()
	if b != nil {
		e.Big = &Big{members: b.members.Clone(), scores: b.scores.Clone(), stream: b.stream}
	}
}

// Drop says that a large collection, or nil, goes as a whole, if the unit is kept.
func (e *Editor) FreeBig(b *Big) {
	if b == nil {
		return
	}
	e.Nodes.FreeTree(b.members)
	e.Nodes.FreeTree(b.scores)
}

func (e *Editor) setKey(t *btree.Tree, name, val []byte) (added bool) {
	e.key = appendTreeKey(e.key[:0], name)
	return t.Set(e.key, val)
}

// SetFields sets field-value pairs of a hash (or of none, to begin one) and
// returns how many fields are new. Of equal fields the last one counts.
func (e *Editor) SetFields(old Value, pairs [][]byte) (added int) {
	e.start()
	if old.big == nil && len(pairs) <= 2*maxPackedFields {
		if added, ok := e.setPackedFields(old, pairs); ok {
			return added
		}
		e.Buf = e.Buf[:e.base]
	}
	if old.big == nil {
		e.startPacked(old)
	}
	e.fields = -1
	b := e.toBig(Hash, old)
	for i := 0; i+1 < len(pairs); i += 2 {
		if e.setKey(&b.members, pairs[i], pairs[i+1]) {
			added++
		}
	}
	return added
}

// distinct reports whether every stride-th element is another one.
func (e *Editor) allDistinct(names [][]byte, stride int) bool {
	n := len(names) / stride
	if n <= 8 {
		for i := 1; i < n; i++ {
			for j := range i {
				if bytes.Equal(names[i*stride], names[j*stride]) {
					return false
				}
			}
		}
		return true
	}
	if n > maxPackedFields {
		return false
	}
	clear(e.table[:])
	for i := range n {
		name := names[i*stride]
		at := maphash.Bytes(seed, name) % uint64(len(e.table))
		for e.table[at] != 0 {
			if bytes.Equal(names[int(e.table[at]-1)*stride], name) {
				return false
			}
			at = (at + 1) % uint64(len(e.table))
		}
		e.table[at] = uint16(i + 1)
	}
	return true
}

// lastOnes keeps of every field its first place and its last value.
func (e *Editor) lastValues(pairs [][]byte) [][]byte {
	e.pairs = e.pairs[:0]
	places := make(map[string]int, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if at, ok := places[string(pairs[i])]; ok {
			e.pairs[at+1] = pairs[i+1]
			continue
		}
		places[string(pairs[i])] = len(e.pairs)
		e.pairs = append(e.pairs, pairs[i], pairs[i+1])
	}
	return e.pairs
}

// DeleteFields removes fields of a hash and returns how many were there. If
// none was, there is no result.
func (e *Editor) DeleteFields(old Value, fields [][]byte) (removed int) {
	if old.big != nil {
		return e.deleteFromBig(old, fields)
	}
	e.start()
	return e.deletePackedFields(old, fields)
}

// AddMembers adds members to a set (or to none) and returns how many are new.
func (e *Editor) AddMembers(old Value, members [][]byte) (added int) {
	e.start()
	if old.big == nil {
		e.startPacked(old)
	}
	for i, m := range members {
		p := e.Buf[e.base:]
		n := 0
		if old.big == nil {
			if findMember(p, m) >= 0 {
				continue
			}
			n = packedLen(p)
		}
		if old.big != nil || n == maxPackedMembers || len(p)+len(m) > maxPackedBytes {
			b := e.toBig(Set, old)
			for _, m := range members[i:] {
				if e.setKey(&b.members, m, nil) {
					added++
				}
			}
			return added
		}
		e.Buf = appendItem(e.Buf, m)
		e.setCount(n + 1)
		added++
	}
	return added
}

// DeleteMembers removes members of a set or a sorted set and returns how many
// were there. If none was, there is no result.
func (e *Editor) DeleteMembers(old Value, members [][]byte) (removed int) {
	if old.big != nil {
		return e.deleteFromBig(old, members)
	}
	e.startPacked(old)
	for _, m := range members {
		p := e.Buf[e.base:]
		var start, end int
		if old.kind == SortedSet {
			start, end = findScoredMember(p, m)
		} else if start = findMember(p, m); start >= 0 {
			_, end = readItem(p, start)
		}
		if start >= 0 {
			e.removeRange(start, end)
			removed++
		}
	}
	return removed
}

func (e *Editor) deleteFromBig(old Value, names [][]byte) (removed int) {
	e.start()
	b := e.editBig(old.big)
	for _, name := range names {
		e.key = appendTreeKey(e.key[:0], name)
		if old.kind == SortedSet {
			bits, ok := b.members.Get(e.key)
			if !ok {
				continue
			}
			var scratch [64]byte
			b.scores.Delete(append(appendScoreKey(scratch[:0], DecodeScore(bits)), name...))
		}
		if b.members.Delete(e.key) {
			removed++
		}
	}
	return removed
}

// SetScores gives members of a sorted set (or of none) their scores; none may
// be NaN. It returns how many members are new and how many others have changed
// their score. Of equal members the last one counts.
func (e *Editor) SetScores(old Value, members [][]byte, scores []float64) (added, changed int) {
	e.start()
	if old.big != nil {
		e.toBig(SortedSet, old)
	} else {
		e.startPacked(old)
	}
	for i, m := range members {
		var isNew, isOther bool
		if e.Big == nil && !e.scoreFits(m) {
			e.toBig(SortedSet, Value{})
		}
		if e.Big != nil {
			isNew, isOther = e.setBigScore(m, scores[i])
		} else {
			isNew, isOther = e.setPackedScore(m, scores[i])
		}
		if isNew {
			added++
		}
		if isOther {
			changed++
		}
	}
	return added, changed
}

func (e *Editor) scoreFits(member []byte) bool {
	p := e.Buf[e.base:]
	return packedLen(p) < maxPackedMembers && len(p)+len(member)+16 <= maxPackedBytes
}

// spliceScore puts a member into the packed sorted set at the end of Buf.
func (e *Editor) setPackedScore(member []byte, score float64) (added, changed bool) {
	p := e.Buf[e.base:]
	start, end := findScoredMember(p, member)
	if added = start < 0; !added {
		if DecodeScore(p[start:]) == score {
			return false, false
		}
		e.removeRange(start, end)
		p = e.Buf[e.base:]
	}
	i := countSize
	for i < len(p) {
		m, next := readItem(p, i+8)
		if s := DecodeScore(p[i:]); s > score || s == score && bytes.Compare(m, member) > 0 {
			break
		}
		i = next
	}
	n := packedLen(p)
	e.key = binary.LittleEndian.AppendUint64(e.key[:0], math.Float64bits(score))
	e.key = appendItem(e.key, member)
	e.Buf = slices.Insert(e.Buf, e.base+i, e.key...)
	e.setCount(n + 1)
	return added, !added
}

// putScore puts a member into both trees of Big.
func (e *Editor) setBigScore(member []byte, score float64) (added, changed bool) {
	b := e.Big
	e.key = appendTreeKey(e.key[:0], member)
	var scratch [64]byte
	if bits, ok := b.members.Get(e.key); ok {
		was := DecodeScore(bits)
		if was == score {
			return false, false
		}
		b.scores.Delete(append(appendScoreKey(scratch[:0], was), member...))
		changed = true
	}
	var bits [8]byte
	binary.LittleEndian.PutUint64(bits[:], math.Float64bits(score))
	b.members.Set(e.key, bits[:])
	var mark []byte
	if score == 0 && math.Signbit(score) {
		mark = []byte{1}
	}
	b.scores.Set(append(appendScoreKey(scratch[:0], score), member...), mark)
	return !changed, changed
}
