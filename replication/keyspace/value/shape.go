package value

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync/atomic"
)

// Limits of the shapes of one keyspace. Shapes are never removed. A shape is made only when the
// same field names are seen for the second time, so that hashes that all differ do not use up the
// limits.
const (
	maxShapes       = 4096
	maxShapeBytes   = 4 << 20 // bytes of the names of all shapes
	shapeCandidates = 1024    // size of the table of names that were seen once
	shapeFlag       = 0x8000  // set in the count of a row; the other bits are its shape's number
)

// Shape is the field names of a row, in order and all different. All rows with these names share
// it.
type Shape struct {
	number uint16
	names  [][]byte
	index  map[string]int // position by name, for shapes with many names
	// lastUpdate holds the positions of the first fields of the last RowUpdate. Only the goroutine
	// that edits uses it.
	lastUpdate [4]uint8
}

// Shapes is the shapes of one keyspace. One goroutine adds shapes, through an Editor; any
// goroutine may read.
type Shapes struct {
	list       atomic.Pointer[[]*Shape] // by number; any goroutine may read it
	byHash     map[uint64]*Shape        // by hashNames
	candidates [shapeCandidates]uint64  // hashes of names that were seen once
	bytes      int                      // of the names of all shapes
	lastUsed   *Shape                   // rows of one table often follow each other
}

// NewShapes returns an empty table of shapes.
func NewShapes() *Shapes {
	s := &Shapes{byHash: map[uint64]*Shape{}}
	s.list.Store(new([]*Shape))
	return s
}

// Len returns the number of shapes.
func (s *Shapes) Len() int { return len(*s.list.Load()) }

// Of returns the Value that an Editor with these shapes has made: packed bytes, or big if it is
// not nil.
func (s *Shapes) Of(kind Kind, packed []byte, big *Big) Value {
	v := Value{kind: kind, packed: packed, big: big}
	if kind == Hash && big == nil && len(packed) >= countSize {
		if n := binary.LittleEndian.Uint16(packed); n >= shapeFlag {
			v.shape = (*s.list.Load())[n&^shapeFlag]
		}
	}
	return v
}

// fieldIndex returns the position of a field in the shape, or -1.
func (s *Shape) fieldIndex(name []byte) int {
	if s.index != nil {
		if i, ok := s.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i, n := range s.names {
		if string(n) == string(name) {
			return i
		}
	}
	return -1
}

// matches reports whether the fields of pairs are those of the shape, in the same order.
func (s *Shape) matches(pairs [][]byte) bool {
	if 2*len(s.names) != len(pairs) {
		return false
	}
	for i, n := range s.names {
		if string(n) != string(pairs[2*i]) {
			return false
		}
	}
	return true
}

// hashNames returns a hash of the field names in pairs.
func hashNames(pairs [][]byte) uint64 {
	h := uint64(len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		h = bits.RotateLeft64(h, 23) * 0x9e3779b97f4a7c15
		h ^= maphash.Bytes(seed, pairs[i])
	}
	return h
}

// lookup returns the shape whose names are the fields of pairs; nil if no such shape exists. A
// field that occurs twice in pairs never matches.
func (s *Shapes) lookup(pairs [][]byte) *Shape {
	if s == nil {
		return nil
	}
	if s.lastUsed != nil && s.lastUsed.matches(pairs) {
		return s.lastUsed
	}
	if found := s.byHash[hashNames(pairs)]; found != nil && found.matches(pairs) {
		s.lastUsed = found
		return found
	}
	return nil
}

// lookupOrAdd returns the shape of pairs, whose fields must all be different. If no such shape
// exists, it adds one when these fields were seen before, and else returns nil.
func (s *Shapes) lookupOrAdd(pairs [][]byte) *Shape {
	if found := s.lookup(pairs); found != nil || s == nil || len(pairs) == 0 {
		return found
	}
	h := hashNames(pairs)
	if candidate := &s.candidates[h%shapeCandidates]; *candidate != h {
		*candidate = h
		return nil
	}
	if s.byHash[h] != nil {
		return nil // a shape with other names has the same hash
	}
	return s.add(h, pairs)
}

// add adds the shape of pairs, whose hash is h. It returns nil if that would exceed a limit.
func (s *Shapes) add(h uint64, pairs [][]byte) *Shape {
	size := 0
	for i := 0; i < len(pairs); i += 2 {
		size += len(pairs[i])
	}
	list := *s.list.Load()
	if len(list) == maxShapes || s.bytes+size > maxShapeBytes {
		return nil
	}
	shape := &Shape{number: uint16(len(list))}
	for i := 0; i < len(pairs); i += 2 {
		shape.names = append(shape.names, bytes.Clone(pairs[i]))
	}
	if len(shape.names) > 12 {
		shape.index = map[string]int{}
		for i, n := range shape.names {
			shape.index[string(n)] = i
		}
	}
	list = append(list, shape) // readers of the old slice do not look for it
	s.list.Store(&list)
	s.byHash[h] = shape
	s.bytes += size
	s.lastUsed = shape
	return shape
}

// appendRow appends the packed row of a shape.
func (e *Editor) appendRow(s *Shape, pairs [][]byte) {
	e.Buf = binary.LittleEndian.AppendUint16(e.Buf, shapeFlag|s.number)
	for i := 1; i < len(pairs); i += 2 {
		e.Buf = appendItem(e.Buf, pairs[i])
	}
	e.fields, e.Row = len(s.names), s
}

// appendHash appends a packed hash of pairs, whose fields must all be different. It is a row if
// the fields have a shape.
func (e *Editor) appendHash(pairs [][]byte) {
	if s := e.Shapes.lookupOrAdd(pairs); s != nil {
		e.appendRow(s, pairs)
		return
	}
	e.Buf = binary.LittleEndian.AppendUint16(e.Buf, uint16(len(pairs)/2))
	for _, b := range pairs {
		e.Buf = appendItem(e.Buf, b)
	}
	e.fields = len(pairs) / 2
}

// setPackedFields appends the packed hash that results from setting pairs in old. It returns the
// number of new fields. ok is false if the result is too large for the packed form.
func (e *Editor) setPackedFields(old Value, pairs [][]byte) (added int, ok bool) {
	switch {
	case old.shape != nil && old.shape.matches(pairs):
		e.appendRow(old.shape, pairs) // the row is replaced as a whole
	case old.shape != nil && e.updateRow(old, pairs):
	case len(old.packed) == 0 && e.appendKnownRow(pairs):
		added = len(pairs) / 2
	default:
		all, n := e.mergedFields(old, pairs)
		if len(all) > 2*maxPackedFields {
			return 0, false
		}
		e.appendHash(all)
		added = n
	}
	return added, e.fields <= maxPackedFields && len(e.Buf)-e.base <= maxPackedFieldBytes
}

// appendKnownRow appends a new hash as a row if its fields have a shape, and reports whether they
// have.
func (e *Editor) appendKnownRow(pairs [][]byte) bool {
	s := e.Shapes.lookup(pairs)
	if s != nil {
		e.appendRow(s, pairs)
	}
	return s != nil
}

// updateRow appends the row old with the values of some fields changed. It returns false if pairs
// has a field that old does not have.
func (e *Editor) updateRow(old Value, pairs [][]byte) bool {
	if len(pairs) > 2*len(old.shape.names) {
		return false
	}
	e.all = e.all[:0]
	for i := countSize; i < len(old.packed); {
		var val []byte
		val, i = readItem(old.packed, i)
		e.all = append(e.all, val)
	}
	for i := 0; i < len(pairs); i += 2 {
		at := old.shape.fieldIndex(pairs[i])
		if at < 0 {
			return false
		}
		e.all[at] = pairs[i+1]
	}
	e.Buf = append(e.Buf, old.packed[:countSize]...)
	for _, val := range e.all {
		e.Buf = appendItem(e.Buf, val)
	}
	e.fields = len(e.all)
	return true
}

// mergedFields returns the fields and values of old after setting pairs, and the number of new
// fields.
func (e *Editor) mergedFields(old Value, pairs [][]byte) (all [][]byte, added int) {
	if !e.allDistinct(pairs, 2) {
		pairs = e.lastValues(pairs)
	}
	m := len(pairs) / 2
	var used [maxPackedFields]bool
	next, left := 0, m
	all = e.all[:0]
	old.Fields(func(f, val []byte) bool {
		for n := 0; n < m && left > 0; n++ {
			j := next + n
			if j >= m {
				j -= m
			}
			if !used[j] && bytes.Equal(pairs[2*j], f) {
				used[j], next, left = true, j+1, left-1
				val = pairs[2*j+1]
				break
			}
		}
		all = append(all, f, val)
		return true
	})
	for j := range m {
		if !used[j] {
			all = append(all, pairs[2*j], pairs[2*j+1])
			added++
		}
	}
	e.all = all
	return all, added
}

// deletePackedFields appends the packed hash old without some of its fields, and returns the
// number of fields that it has removed.
func (e *Editor) deletePackedFields(old Value, fields [][]byte) (removed int) {
	all := e.all[:0]
	old.Fields(func(f, val []byte) bool { all = append(all, f, val); return true })
	for _, f := range fields {
		for i := 0; i < len(all); i += 2 {
			if bytes.Equal(all[i], f) {
				all = slices.Delete(all, i, i+2)
				removed++
				break
			}
		}
	}
	e.all = all
	e.appendHash(all)
	return removed
}
