package sink

import (
	"bytes"
	"slices"
	"strings"
)

// Position is a place in a source's history, as the fields in which the position hash stores it.
// Only the source knows what the fields mean. A sink compares them with those of the last unit as
// text, and writes those that differ. All positions of a pipeline have the same fields in the same
// order.
type Position []PositionField

// PositionField is one field of a position, such as the offset in a file.
type PositionField struct {
	Name  string
	Value []byte
}

// Get returns the value of a field; nil if the position has no such field.
func (p Position) Get(name string) []byte {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value
		}
	}
	return nil
}

// Clone returns a copy that shares no memory with p.
func (p Position) Clone() Position { return p.CopyTo(nil) }

// CopyTo copies p into the memory of dst, as far as that suffices, and returns the copy.
func (p Position) CopyTo(dst Position) Position {
	dst = slices.Grow(dst[:0], len(p))[:len(p)]
	for i := range p {
		dst[i].Name = p[i].Name
		dst[i].Value = append(dst[i].Value[:0], p[i].Value...)
	}
	return dst
}

// String returns the fields as name=value, separated by spaces.
func (p Position) String() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = p[i].Name + "=" + string(p[i].Value)
	}
	return strings.Join(texts, " ")
}

// changed reports whether field i differs from the one that last has in this place.
func (p Position) changed(i int, last Position) bool {
	return i >= len(last) || p[i].Name != last[i].Name || !bytes.Equal(p[i].Value, last[i].Value)
}
