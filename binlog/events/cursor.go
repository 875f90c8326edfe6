package events

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// errTruncated is returned when an event's lengths reach beyond its end.
var errTruncated = errors.New("the event is damaged: it ends too early")

// cursor reads an event's fields from the front of b. Reading past the end sets
// bad and yields zeroes, so that a run of fields is checked once, at its end.
type cursor struct {
	b         []byte
	truncated bool
}

// take returns the next n bytes, in place.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.truncated = nil, true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) byte() byte {
	if v := c.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if v := c.bytes(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if v := c.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if v := c.bytes(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// uint returns a little-endian number of n bytes, at most 8.
func (c *cursor) uint(n uint64) (v uint64) {
	for i, b := range c.bytes(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// packed returns a number in the client protocol's length encoding.
func (c *cursor) lengthEncodedInt() uint64 {
	switch v := c.byte(); {
	case v < 251:
		return uint64(v)
	case v == 252:
		return c.uint(2)
	case v == 253:
		return c.uint(3)
	case v == 254:
		return c.uint(8)
	}
	c.b, c.truncated = nil, true
	return 0
}

// lengthEncodedIntOr is packed, or none at the end.
func (c *cursor) lengthEncodedIntOr(none uint64) uint64 {
	if len(c.b) == 0 {
		return none
	}
	return c.lengthEncodedInt()
}

// name returns a string with its length before and a zero byte after it.
func (c *cursor) name() []byte {
	v := c.bytes(c.lengthEncodedInt())
	c.bytes(1)
	return v
}

// tableID returns a table id of six bytes, or of four.
func (c *cursor) tableID(wide bool) uint64 {
	if wide {
		return c.uint(6)
	}
	return c.uint(4)
}

// maxQuoted is how much of a server's text an error message quotes, in bytes.
const maxQuoted = 80

// varint returns an unsigned number of MySQL's serialization library: as many
// low one bits as bytes follow, a zero bit, then the number, little-endian.
func (c *cursor) varint() uint64 {
	if len(c.b) == 0 {
		c.truncated = true
		return 0
	}
	more := uint64(bits.TrailingZeros8(^c.b[0]))
	if more == 8 {
		c.bytes(1)
		return c.uint64()
	}
	return c.uint(more+1) >> (more + 1)
}
