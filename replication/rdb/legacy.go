package rdb

import (
	"encoding/binary"
	"errors"
)

var (
	errZiplist = errors.New("ziplist is damaged")
	errIntset  = errors.New("set of integers is damaged")
	errLZF     = errors.New("compressed string is damaged")
)

// unzip adds the elements of a ziplist to e. A ziplist is u32 bytes, u32 offset of the last
// element, u16 elements, the elements, 0xff. An element is the size of the previous element (1
// byte, or 0xfe and u32), an encoding, and data.
func unzip(b []byte, e *elements) error {
	const header = 10
	if len(b) < header+1 || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) ||
		b[len(b)-1] != 0xff {
		return errZiplist
	}
	want, n := int(binary.LittleEndian.Uint16(b[8:])), 0
	for b = b[header:]; b[0] != 0xff; n++ {
		before := 1
		if b[0] == 0xfe {
			before = 5
		}
		if before >= len(b) {
			return errZiplist
		}
		size, err := unzipOne(b[before:], e)
		if err != nil {
			return err
		}
		if before+size >= len(b) { // the end byte must be left
			return errZiplist
		}
		b = b[before+size:]
	}
	if len(b) != 1 || want != 0xffff && want != n {
		return errZiplist
	}
	return nil
}

// unzipOne adds the element at the start of b, which must not be empty, and returns its size.
func unzipOne(b []byte, e *elements) (int, error) {
	c := b[0]
	head, n := 0, uint64(0)
	switch {
	case c>>6 == 0:
		head, n = 1, uint64(c)
	case c>>6 == 1 && len(b) >= 2:
		head, n = 2, uint64(c&0x3f)<<8|uint64(b[1])
	case c == 0x80 && len(b) >= 5:
		head, n = 5, uint64(binary.BigEndian.Uint32(b[1:]))
	}
	if head > 0 {
		if n > uint64(len(b)-head) {
			return 0, errZiplist
		}
		e.add(b[head : head+int(n)])
		return head + int(n), nil
	}
	if c >= 0xf1 && c <= 0xfd {
		e.addInt(int64(c&0x0f) - 1)
		return 1, nil
	}
	size, ok := map[byte]int{0xfe: 1, 0xc0: 2, 0xf0: 3, 0xd0: 4, 0xe0: 8}[c]
	if !ok || len(b) < 1+size {
		return 0, errZiplist
	}
	e.addInt(littleInt(b[1 : 1+size]))
	return 1 + size, nil
}

// unpackInts adds the members of an intset to e. An intset is u32 bytes per integer, u32 members,
// the members.
func unpackInts(b []byte, e *elements) error {
	if len(b) < 8 {
		return errIntset
	}
	size, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if size != 2 && size != 4 && size != 8 || uint64(n)*uint64(size) != uint64(len(b)-8) {
		return errIntset
	}
	for b = b[8:]; len(b) > 0; b = b[size:] {
		e.addInt(littleInt(b[:size]))
	}
	return nil
}

// decompress appends the decompressed form of an LZF string, size bytes, to dst. LZF is a sequence
// of literal runs (000lllll: l+1 bytes follow) and copies of earlier output (llloooooo oooooooo:
// l+2 bytes from o+1 bytes back; an l of 7 adds the value of another byte).
func decompress(dst, src []byte, size int) ([]byte, error) {
	from := len(dst)
	for len(src) > 0 {
		c := int(src[0])
		if c < 32 {
			if c+2 > len(src) {
				return dst, errLZF
			}
			dst, src = append(dst, src[1:c+2]...), src[c+2:]
			continue
		}
		n, head := c>>5, 2
		if n == 7 {
			if len(src) < 3 {
				return dst, errLZF
			}
			n, head = n+int(src[1]), 3
		}
		if len(src) < head {
			return dst, errLZF
		}
		at := len(dst) - (c&0x1f)<<8 - int(src[head-1]) - 1
		if at < from || len(dst)-from+n+2 > size {
			return dst, errLZF
		}
		for range n + 2 { // byte by byte, because the copy may overlap its own output
			dst = append(dst, dst[at])
			at++
		}
		src = src[head:]
	}
	if len(dst)-from != size {
		return dst, errLZF
	}
	return dst, nil
}
