package value

import (
	"encoding/binary"
	"math"
)

// This file writes a row from the bytes of a command, without slices of the arguments and without
// an Editor. The caller measures the row first, allocates its record, and writes the row there. The
// results are those of Editor.SetFields.

// Span is a part of the bytes of a command: one name or value.
type Span struct{ Start, End int32 }

// MaxSpan is the length in bytes of the longest command that spans can describe.
const MaxSpan = math.MaxInt32

func (s Span) of(b []byte) []byte { return b[s.Start:s.End] }

func (s Span) len() int { return int(s.End - s.Start) }

// Shape returns the shape of a row; nil for every other value.
func (v Value) Shape() *Shape { return v.shape }

// Number returns the number of the shape. Numbers are counted from 0 in the order in which shapes
// were made.
func (s *Shape) Number() int { return int(s.number) }

// Names returns the field names of the shape. They must not be changed.
func (s *Shape) Names() [][]byte { return s.names }

// itemSize returns the size in bytes of an item of n bytes with its length.
func itemSize(n int) int {
	size := n + 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// putItem writes an item at dst[i:] and returns the offset after it.
func putItem(dst []byte, i int, b []byte) int {
	if len(b) < 0x80 {
		dst[i] = byte(len(b))
		i++
	} else {
		i += binary.PutUvarint(dst[i:], uint64(len(b)))
	}
	return i + copy(dst[i:], b)
}

// RowSize returns the size in bytes of a packed row with these values. ok is false if the row is
// too large for the packed form.
func RowSize(values []Span) (size int, ok bool) {
	size = countSize
	for _, v := range values {
		size += itemSize(v.len())
	}
	return size, size <= maxPackedFieldBytes && len(values) <= maxPackedFields
}

// PutRow writes the packed row of the shape with one value for each name. The values are spans of
// src. dst must have the size that RowSize has returned.
func (s *Shape) PutRow(dst, src []byte, values []Span) {
	binary.LittleEndian.PutUint16(dst, shapeFlag|s.number)
	i := countSize
	for _, v := range values {
		i = putItem(dst, i, v.of(src))
	}
}

// RowUpdate is an update of some fields of a row. Its zero value is ready for use.
type RowUpdate struct {
	old   Value
	items []Span // the items of old.packed that change
	vals  []Span // their new values
}

// Measure prepares an update of the row old, and returns the size in bytes of the new packed row.
// The names and values of the fields are spans of src. ok is false if old is not a row, if it lacks
// a field, if the fields are not in the order of the row, or if the new row is too large for the
// packed form.
func (u *RowUpdate) Measure(old Value, src []byte, names, values []Span) (size int, ok bool) {
	s := old.shape
	if s == nil || len(names) > len(s.names) {
		return 0, false
	}
	u.old, u.vals, u.items = old, values, u.items[:0]
	size = len(old.packed)
	field, at := 0, countSize // the next field of the row, and the offset of its item
	for n, span := range names {
		found := s.fieldFrom(n, field, span.of(src))
		if found < 0 {
			return 0, false
		}
		for ; field < found; field++ {
			at = skipItem(old.packed, at)
		}
		end := skipItem(old.packed, at)
		u.items = append(u.items, Span{int32(at), int32(end)})
		size += itemSize(values[n].len()) - (end - at)
		field, at = field+1, end
	}
	return size, size <= maxPackedFieldBytes
}

// Put writes the new packed row. src is that of Measure, and dst has the size that Measure has
// returned.
func (u *RowUpdate) Put(dst, src []byte) {
	from, to := 0, 0
	for n, item := range u.items {
		to += copy(dst[to:], u.old.packed[from:item.Start])
		to = putItem(dst, to, u.vals[n].of(src))
		from = int(item.End)
	}
	copy(dst[to:], u.old.packed[from:])
	u.old, u.vals = Value{}, nil
}

// skipItem returns the offset after the length-prefixed item at p[i:].
func skipItem(p []byte, i int) int {
	n := int(p[i])
	i++
	if n >= 0x80 {
		u, w := binary.Uvarint(p[i-1:])
		n, i = int(u), i-1+w
	}
	return i + n
}

// fieldFrom returns the position of a field in the shape, at from or after it, or -1. The field is
// number n of an update. Updates of a table mostly change the same columns, so the position that
// number n had last is tried first.
func (s *Shape) fieldFrom(n, from int, name []byte) int {
	if n < len(s.lastUpdate) {
		if i := int(s.lastUpdate[n]); i >= from && string(s.names[i]) == string(name) {
			return i
		}
	}
	for i := from; i < len(s.names); i++ {
		if string(s.names[i]) == string(name) {
			if n < len(s.lastUpdate) {
				s.lastUpdate[n] = uint8(i)
			}
			return i
		}
	}
	return -1
}
