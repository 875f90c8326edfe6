package value

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"rowfall/replication/keyspace/btree"
)

// Limits of the packed form. A row-shaped hash is replaced as a whole far more often than field by
// field, so hashes stay packed up to a higher limit than other collections.
const (
	maxPackedFields     = 256      // fields of a hash
	maxPackedFieldBytes = 64 << 10 // bytes of a hash
	maxPackedMembers    = 128      // members of a set or sorted set
	maxPackedBytes      = 8 << 10  // bytes of a set or sorted set
)

// Editor makes new values from old ones. One goroutine uses it for one edit after another. The
// result of an edit is in Big if that is not nil, else in Buf after what the caller had put there.
// If the trees' arena is full, Nodes.Err returns the error. From then on the trees that are changed
// become empty, and the results of all methods mean nothing.
type Editor struct {
	// Nodes holds the trees of large collections. An edit belongs to their current unit.
	Nodes *btree.Nodes
	// Buf receives the packed bytes. The caller may put a header there before the edit.
	Buf []byte
	// Big is the result if that is a large collection.
	Big *Big
	// BigSource is the large collection that Big was made from and whose nodes it has taken over;
	// nil if Big has only new nodes.
	BigSource *Big

	// Row is the shape of the result if the result is a row whose values were all set by the edit,
	// else nil.
	Row *Shape

	// Shapes are the shapes of rows. nil stores every hash with its field names.
	Shapes *Shapes

	base   int  // offset in Buf at which the packed bytes start
	fields int  // number of fields of the packed hash in Buf; -1 if the result is not one
	used   bool // there was an edit since the last Reset
	// Scratch space of single edits.
	key   []byte
	pairs [][]byte
	all   [][]byte
	table [2 * maxPackedFields]uint16
}

// Reset forgets the last result and the arguments of the last edits. It is called when the unit has
// been committed or rolled back.
func (e *Editor) Reset() {
	e.Big, e.BigSource = nil, nil // Discard would free nodes, but the unit has ended
	if e.used {
		e.pairs, e.all = ResetScratch(e.pairs, cap(e.pairs)), ResetScratch(e.all, cap(e.all))
		e.used = false
	}
}

// maxScratch is the greatest capacity of scratch space that is kept between units.
const maxScratch = 1024

// ResetScratch empties scratch space between two units, so that it refers to no argument of the
// last one. It clears the elements that were used. Scratch space that one wide command has grown is
// released: otherwise every later unit might pay for clearing it.
func ResetScratch(scratch [][]byte, used int) [][]byte {
	if cap(scratch) > maxScratch {
		return nil
	}
	clear(scratch[:used])
	return scratch[:0]
}

// start begins an edit, and discards the result of the last one if that was not taken.
func (e *Editor) start() {
	e.Discard()
	e.base, e.fields, e.Row, e.used = len(e.Buf), -1, nil, true
}

// Discard forgets the result of an edit and frees its new trees. After TakeBig it has no effect.
func (e *Editor) Discard() {
	if e.BigSource == nil {
		e.FreeBig(e.Big)
	}
	e.Big, e.BigSource = nil, nil
}

// TakeBig returns the large collection of the result, nil if the result is packed. The caller
// stores it in place of the collection old, which may be nil. TakeBig frees old unless the result
// was made from old.
func (e *Editor) TakeBig(old *Big) *Big {
	if old != e.BigSource {
		e.FreeBig(old)
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

// setCount sets the count of the packed collection in Buf.
func (e *Editor) setCount(n int) { binary.LittleEndian.PutUint16(e.Buf[e.base:], uint16(n)) }

// startPacked begins an edit with a copy of the packed bytes of old, or with an empty collection.
func (e *Editor) startPacked(old Value) {
	e.start()
	if len(old.packed) == 0 {
		e.Buf = append(e.Buf, 0, 0)
		return
	}
	e.Buf = append(e.Buf, old.packed...)
}

// removeRange removes one element, which has the bytes from start to end. These are offsets in the
// packed bytes.
func (e *Editor) removeRange(start, end int) {
	e.Buf = append(e.Buf[:e.base+start], e.Buf[e.base+end:]...)
	e.setCount(packedLen(e.Buf[e.base:]) - 1)
}

// toBig makes the result a large collection: that of old, or the packed bytes in Buf converted.
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
		v.Entries(
			func(s StreamEntry) bool { b.members.Set(s.ID.appendTo(nil), s.pairs); return true },
		)
	}
	e.Buf = e.Buf[:e.base]
	return b
}

// editBig begins the edit of a large collection.
func (e *Editor) editBig(old *Big) *Big {
	b := *old
	e.Big, e.BigSource = &b, old
	return e.Big
}

// ReuseBig makes the large collection b the result without a change, for a key that is renamed or
// whose expiry changes. b may be nil.
func (e *Editor) ReuseBig(b *Big) { e.Big, e.BigSource = b, b }

// CloneBig makes a copy of the large collection b the result, with nodes of its own. b may be nil.
func (e *Editor) CloneBig(b *Big) {
	e.Discard()
	if b != nil {
		e.Big = &Big{members: b.members.Clone(), scores: b.scores.Clone(), stream: b.stream}
	}
}

// FreeBig frees the trees of a large collection when the unit is committed. b may be nil.
func (e *Editor) FreeBig(b *Big) {
	if b == nil {
		return
	}
	e.Nodes.FreeTree(b.members)
	e.Nodes.FreeTree(b.scores)
}

// setKey inserts or replaces a field or member in a tree.
func (e *Editor) setKey(t *btree.Tree, name, val []byte) (added bool) {
	e.key = appendTreeKey(e.key[:0], name)
	return t.Set(e.key, val)
}

// SetFields sets fields of a hash and returns the number of new fields. pairs holds fields and
// values alternately; if a field occurs twice, the last value counts. The zero Value as old makes a
// new hash.
func (e *Editor) SetFields(old Value, pairs [][]byte) (added int) {
	e.start()
	// A value that is too long for a packed hash is not copied to find that out.
	long := slices.ContainsFunc(pairs, func(b []byte) bool { return len(b) > maxPackedFieldBytes })
	if old.big == nil && len(pairs) <= 2*maxPackedFields && !long {
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

// allDistinct reports whether the elements 0, stride, 2*stride... of names are all different.
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

// lastValues returns pairs with each field once: at its first position, with its last value.
func (e *Editor) lastValues(pairs [][]byte) [][]byte {
	e.pairs = e.pairs[:0]
	index := make(map[string]int, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if at, ok := index[string(pairs[i])]; ok {
			e.pairs[at+1] = pairs[i+1]
			continue
		}
		index[string(pairs[i])] = len(e.pairs)
		e.pairs = append(e.pairs, pairs[i], pairs[i+1])
	}
	return e.pairs
}

// DeleteFields removes fields of a hash and returns the number of fields that it has removed. If
// that is 0, there is no result.
func (e *Editor) DeleteFields(old Value, fields [][]byte) (removed int) {
	if old.big != nil {
		return e.deleteFromBig(old, fields)
	}
	e.start()
	return e.deletePackedFields(old, fields)
}

// AddMembers adds members to a set and returns the number of new members. The zero Value as old
// makes a new set.
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

// DeleteMembers removes members of a set or a sorted set and returns the number of members that it
// has removed. If that is 0, there is no result.
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

// deleteFromBig removes fields or members of a large collection.
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

// SetScores sets the scores of members of a sorted set. No score may be NaN; if a member occurs
// twice, the last score counts. It returns the number of new members and the number of existing
// members whose score has changed. The zero Value as old makes a new sorted set.
func (e *Editor) SetScores(old Value, members [][]byte, scores []float64) (added, changed int) {
	e.start()
	if old.big != nil {
		e.toBig(SortedSet, old)
	} else {
		e.startPacked(old)
	}
	for i, m := range members {
		var isNew, isChanged bool
		if e.Big == nil && !e.scoreFits(m) {
			e.toBig(SortedSet, Value{})
		}
		if e.Big != nil {
			isNew, isChanged = e.setBigScore(m, scores[i])
		} else {
			isNew, isChanged = e.setPackedScore(m, scores[i])
		}
		if isNew {
			added++
		}
		if isChanged {
			changed++
		}
	}
	return added, changed
}

// scoreFits reports whether the packed sorted set in Buf has room for another member.
func (e *Editor) scoreFits(member []byte) bool {
	p := e.Buf[e.base:]
	return packedLen(p) < maxPackedMembers && len(p)+len(member)+16 <= maxPackedBytes
}

// setPackedScore sets the score of a member in the packed sorted set in Buf.
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

// setBigScore sets the score of a member in both trees of Big.
func (e *Editor) setBigScore(member []byte, score float64) (added, changed bool) {
	b := e.Big
	e.key = appendTreeKey(e.key[:0], member)
	var scratch [64]byte
	if bits, ok := b.members.Get(e.key); ok {
		old := DecodeScore(bits)
		if old == score {
			return false, false
		}
		b.scores.Delete(append(appendScoreKey(scratch[:0], old), member...))
		changed = true
	}
	var bits [8]byte
	binary.LittleEndian.PutUint64(bits[:], math.Float64bits(score))
	b.members.Set(e.key, bits[:])
	var negativeZero []byte
	if score == 0 && math.Signbit(score) {
		negativeZero = []byte{1}
	}
	b.scores.Set(append(appendScoreKey(scratch[:0], score), member...), negativeZero)
	return !changed, changed
}
