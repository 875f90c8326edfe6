package value

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync/atomic"
)

// Bounds of shapes. One is made for field names that were seen twice, so that
// hashes which are all different do not use them up; it is never dropped.
const (
	maxShapes       = 4096
	maxShapeBytes   = 4 << 20 // names of all shapes
	shapeCandidates = 1024
	shapeFlag       = 0x8000 // in the count of a packed hash: the rest is a shape's number
)

// Shape is the names of a row's fields, in order and all different, shared by
// all hashes that have just these.
type Shape struct {
	number uint16
	names  [][]byte
	index  map[string]int // for many names
}

// Shapes are the shapes of one keyspace. One goroutine makes them, by an
// Editor; any may read.
type Shapes struct {
	list       atomic.Pointer[[]*Shape]
	byHash     map[uint64]*Shape
	candidates [shapeCandidates]uint64
	bytes      int
	lastUsed   *Shape
}

// NewShapes returns an empty table of shapes.
func NewShapes() *Shapes {
	s := &Shapes{byHash: map[uint64]*Shape{}}
	s.list.Store(new([]*Shape))
	return s
}

// Len returns the number of shapes.
func (s *Shapes) Len() int { return len(*s.list.Load()) }

// Of returns the Value of what an Editor with these shapes has made: packed
// bytes, or big if that is not nil.
func (s *Shapes) Of(kind Kind, packed []byte, big *Big) Value {
	v := Value{kind: kind, packed: packed, big: big}
	if kind == Hash && big == nil && len(packed) >= countSize {
		if n := binary.LittleEndian.Uint16(packed); n >= shapeFlag {
			v.shape = (*s.list.Load())[n&^shapeFlag]
		}
	}
	return v
}

// find returns the number of a field, or -1.
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

// is asks whether these are the names of field-value pairs.
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

func hashNames(pairs [][]byte) uint64 {
	h := uint64(len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		h = bits.RotateLeft64(h, 23) * 0x9e3779b97f4a7c15
		h ^= maphash.Bytes(seed, pairs[i])
	}
	return h
}

// known returns the shape of pairs, nil if they have none or if their fields are
// not all different.
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

// of returns the shape of pairs whose fields are all different, and makes one
// for names seen before.
func (s *Shapes) lookupOrAdd(pairs [][]byte) *Shape {
	if found := s.lookup(pairs); found != nil || s == nil || len(pairs) == 0 {
		return found
	}
	h := hashNames(pairs)
	if suspect := &s.candidates[h%shapeCandidates]; *suspect != h {
		*suspect = h
		return nil
	}
	if s.byHash[h] != nil {
		return nil // another one has the same hash
	}
	return s.add(h, pairs)
}

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
	list = append(list, shape) // who reads the old header does not see the new element
	s.list.Store(&list)
	s.byHash[h] = shape
	s.bytes += size
	s.lastUsed = shape
	return shape
}

// appendShaped appends a packed hash of this shape.
func (e *Editor) appendRow(s *Shape, pairs [][]byte) {
	e.Buf = binary.LittleEndian.AppendUint16(e.Buf, shapeFlag|s.number)
	for i := 1; i < len(pairs); i += 2 {
		e.Buf = appendItem(e.Buf, pairs[i])
	}
	e.fields = len(s.names)
}

// appendHash appends a packed hash of pairs with different fields, by its shape
// if it has one.
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

// mergeFields writes the packed hash that old becomes with pairs; ok is false
// if that is too large for a packed one.
func (e *Editor) setPackedFields(old Value, pairs [][]byte) (added int, ok bool) {
	switch {
	case old.shape != nil && old.shape.matches(pairs):
		e.appendRow(old.shape, pairs) // a row written again as a whole
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

// appendRow appends a new hash if its shape is known.
func (e *Editor) appendKnownRow(pairs [][]byte) bool {
	s := e.Shapes.lookup(pairs)
	if s != nil {
		e.appendRow(s, pairs)
	}
	return s != nil
}

// overlay appends a hash of old's shape with the values of some fields changed,
// if pairs have no other fields.
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

// merged returns the fields and values of old with pairs put in, and how many
// fields are new.
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

// deleteFields appends a packed hash without some of its fields.
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
