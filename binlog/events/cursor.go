package events

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// errTruncated is returned when a length in an event reaches beyond the event's end.
var errTruncated = errors.New("the event is damaged: it ends too early")

// cursor reads an event's fields from the front of b. A read past the end sets truncated and
// returns zero, so that a sequence of reads needs one check, after the last.
type cursor struct {
	b         []byte
	truncated bool
}

// bytes returns the next n bytes. They are a part of b.
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

// uint returns a little-endian integer of n bytes. n is at most 8.
func (c *cursor) uint(n uint64) (v uint64) {
	for i, b := range c.bytes(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// lengthEncodedInt returns an integer in the length encoding of the client/server protocol.
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

// lengthEncodedIntOr returns a length-encoded integer, or missing if the cursor is at its end.
func (c *cursor) lengthEncodedIntOr(missing uint64) uint64 {
	if len(c.b) == 0 {
		return missing
	}
	return c.lengthEncodedInt()
}

// name returns a string that has its length before it and a zero byte after it.
func (c *cursor) name() []byte {
	v := c.bytes(c.lengthEncodedInt())
	c.bytes(1)
	return v
}

// tableID returns a table id of six bytes, or of four bytes in events of old servers.
func (c *cursor) tableID(sixBytes bool) uint64 {
	if sixBytes {
		return c.uint(6)
	}
	return c.uint(4)
}

// maxQuoted is how much of a server's text an error message quotes, in bytes.
const maxQuoted = 80

// varint returns an unsigned integer in the encoding of MySQL's mysql::serialization library: the
// number of low one bits is the number of bytes that follow; then come a zero bit and the value,
// little-endian.
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
