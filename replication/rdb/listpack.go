package rdb

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"rowfall/replication/keyspace"
)

// A listpack is u32 bytes, u16 elements (0xffff: unknown, count them), the elements, 0xff. An
// element is an encoding with its data, and then the length of both, in a form that is read
// backwards. The encodings, by their first byte:
//
//	0xxxxxxx                  integer 0..127
//	10llllll                  string of up to 63 bytes
//	110xxxxx x                integer of 13 bits
//	1110llll l                string of up to 4095 bytes
//	f0 llll                   string, u32 bytes
//	f1 f2 f3 f4               integer of 16, 24, 32, 64 bits
const (
	packHeader = 6
	packEnd    = 0xff
)

var errPack = errors.New("listpack is damaged")

// beginPack starts a listpack in dst, which must be empty; endPack finishes it.
func beginPack(dst []byte) []byte { return append(dst, make([]byte, packHeader)...) }

func endPack(b []byte, elements int) []byte {
	b = append(b, packEnd)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint16(b[4:], uint16(min(elements, math.MaxUint16)))
	return b
}

// packedLen returns the element count in a listpack's header, or 0 if b is too short for one.
func packedLen(b []byte) int {
	if len(b) < packHeader {
		return 0
	}
	return int(binary.LittleEndian.Uint16(b[4:]))
}

// appendPack appends an element. Text that is an integer becomes one, as servers require.
func appendPack(b, element []byte) []byte {
	from := len(b)
	n, isInt := keyspace.ParseInt(element)
	switch l := len(element); {
	case isInt:
		b = appendPackInt(b, n)
	case l < 1<<6:
		b = append(append(b, 0x80|byte(l)), element...)
	case l < 1<<12:
		b = append(append(b, 0xe0|byte(l>>8), byte(l)), element...)
	default:
		b = append(binary.LittleEndian.AppendUint32(append(b, 0xf0), uint32(l)), element...)
	}
	return appendPackLen(b, len(b)-from)
}

func appendPackInt(b []byte, n int64) []byte {
	switch {
	case n >= 0 && n < 1<<7:
		return append(b, byte(n))
	case n >= -1<<12 && n < 1<<12:
		return append(b, 0xc0|byte(n>>8)&0x1f, byte(n))
	case n >= math.MinInt16 && n <= math.MaxInt16:
		return append(b, 0xf1, byte(n), byte(n>>8))
	case n >= -1<<23 && n < 1<<23:
		return append(b, 0xf2, byte(n), byte(n>>8), byte(n>>16))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		return binary.LittleEndian.AppendUint32(append(b, 0xf3), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xf4), uint64(n))
}

// appendPackNumber appends an integer element.
func appendPackNumber(b []byte, n int64) []byte {
	from := len(b)
	b = appendPackInt(b, n)
	return appendPackLen(b, len(b)-from)
}

// appendPackLen appends the length of an element, most significant 7 bits first; all except the
// first byte have the top bit set. For the greatest length that fits into a number of bytes, every
// Redis and Valkey up to their releases of 2026 uses one byte more than later releases do, and
// neither reads the other's form. The older form is written here. Of the packed values, only
// strings in streams are that long.
func appendPackLen(b []byte, n int) []byte {
	size := packLenSize(n)
	for i := size - 1; i >= 0; i-- {
		c := byte(n>>(7*i)) & 0x7f
		if i < size-1 {
			c |= 0x80
		}
		b = append(b, c)
	}
	return b
}

func packLenSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14-1:
		return 2
	case n < 1<<21-1:
		return 3
	case n < 1<<28-1:
		return 4
	}
	return 5
}

// packLenAt returns how many bytes the length of the element that ends at b[n] takes, in either
// form.
func packLenAt(b []byte, n int) int {
	size := packLenSize(n)
	if n>>(7*(size-1)) == 0 && n < len(b) && b[n] != 0 {
		return max(size-1, 1) // the newer form; the older one has a 0 byte at b[n]
	}
	return size
}

// unpack adds the elements of a listpack to e.
func unpack(b []byte, e *elements) error {
	return eachPacked(b, func(s []byte, n int64) {
		if s != nil {
			e.add(s)
		} else {
			e.addInt(n)
		}
	})
}

// eachPacked calls do with every element of a listpack: the string s, or the integer n if s is nil.
func eachPacked(b []byte, do func(s []byte, n int64)) error {
	if len(b) < packHeader+1 || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) ||
		b[len(b)-1] != packEnd {
		return errPack
	}
	want, have := int(binary.LittleEndian.Uint16(b[4:])), 0
	for b = b[packHeader:]; b[0] != packEnd; have++ {
		s, n, size := unpackOne(b)
		tail := size + packLenAt(b, size)
		if size == 0 || tail >= len(b) { // the end byte must be left
			return errPack
		}
		do(s, n)
		b = b[tail:]
	}
	if len(b) != 1 || want != math.MaxUint16 && want != have {
		return errPack
	}
	return nil
}

// unpackOne returns the first element of b and the size of its encoding and data. The size is 0 if
// the element is damaged.
func unpackOne(b []byte) (s []byte, n int64, size int) {
	c := b[0]
	head, long := 0, uint64(0)
	switch {
	case c < 0x80:
		return nil, int64(c), 1
	case c < 0xc0:
		head, long = 1, uint64(c&0x3f)
	case c < 0xe0 && len(b) >= 2:
		return nil, int64(int16(uint16(c&0x1f)<<11|uint16(b[1])<<3)) >> 3, 2
	case c >= 0xe0 && c < 0xf0 && len(b) >= 2:
		head, long = 2, uint64(c&0x0f)<<8|uint64(b[1])
	case c == 0xf0 && len(b) >= 5:
		head, long = 5, uint64(binary.LittleEndian.Uint32(b[1:]))
	case c >= 0xf1 && c <= 0xf4:
		if size := 1 + [...]int{2, 3, 4, 8}[c-0xf1]; len(b) >= size {
			return nil, littleInt(b[1:size]), size
		}
	}
	if head == 0 || long > uint64(len(b)-head) {
		return nil, 0, 0
	}
	size = head + int(long)
	return b[head:size:size], 0, size
}

// littleInt reads a signed little-endian integer of 1 to 8 bytes.
func littleInt(b []byte) int64 {
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	shift := 64 - 8*len(b)
	return int64(n<<shift) >> shift
}

// elements collects the strings of one value in one buffer, which is reused for the next value.
type elements struct {
	buf      []byte
	ends     []int
	limit    int  // greatest allowed number of elements; 0 means unlimited
	exceeded bool // more elements were added than limit; those are not kept
}

func (e *elements) reset() {
	if cap(e.buf) > 1<<20 || cap(e.ends) > 1<<16 {
		*e = elements{} // release the memory of one huge value
	}
	e.buf, e.ends, e.limit, e.exceeded = e.buf[:0], e.ends[:0], 0, false
}

// setLimit allows that many more elements. Later ones are not kept, but set exceeded. 0 removes the
// limit.
func (e *elements) setLimit(more int) {
	if e.limit = 0; more > 0 {
		e.limit = len(e.ends) + more
	}
}

func (e *elements) full() bool {
	full := e.limit > 0 && len(e.ends) == e.limit
	e.exceeded = e.exceeded || full
	return full
}

func (e *elements) add(b []byte) {
	if e.full() {
		return
	}
	e.buf = append(e.buf, b...)
	e.endElement()
}

func (e *elements) addInt(n int64) {
	if e.full() {
		return
	}
	e.buf = strconv.AppendInt(e.buf, n, 10)
	e.endElement()
}

// endElement makes the bytes added to buf since the last element the next element.
func (e *elements) endElement() { e.ends = append(e.ends, len(e.buf)) }

// list appends the elements to dst; they are valid until the next reset.
func (e *elements) list(dst [][]byte) [][]byte {
	from := 0
	dst = slices.Grow(dst, len(e.ends))
	for _, to := range e.ends {
		dst = append(dst, e.buf[from:to:to])
		from = to
	}
	return dst
}
