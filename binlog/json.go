package binlog

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The type bytes of MySQL's binary JSON.
const (
	jsonSmallObject = 0
	jsonLargeObject = 1
	jsonSmallArray  = 2
	jsonLargeArray  = 3
	jsonLiteral     = 4
	jsonInt16       = 5
	jsonUint16      = 6
	jsonInt32       = 7
	jsonUint32      = 8
	jsonInt64       = 9
	jsonUint64      = 10
	jsonDouble      = 11
	jsonString      = 12
	jsonOpaque      = 15
)

// maxJSONDepth is the deepest nesting that MySQL accepts in a document.
const maxJSONDepth = 100

var errJSON = errors.New("the binary JSON is corrupt")

// jsonWalk renders one document. The offsets of a hostile document can make a small
// part appear any number of times. The values that a server writes never share bytes,
// so budget, the number of bytes that may still be rendered, starts at the document's
// size.
type jsonWalk struct {
	dst    []byte
	budget int
}

// appendBinaryJSON appends MySQL's binary JSON as MySQL prints it.
func appendBinaryJSON(dst, b []byte) ([]byte, error) {
	if len(b) == 0 { // ALTER TABLE fills a new NOT NULL column with no bytes at all
		return append(dst, "null"...), nil
	}
	w := jsonWalk{dst: dst, budget: len(b)}
	err := w.value(b[0], b[1:], 0)
	return w.dst, err
}

// value renders the value at the start of b; b ends at the end of the value's parent.
func (w *jsonWalk) value(kind byte, b []byte, depth int) error {
	switch kind {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return w.container(kind, b, depth+1)
	case jsonLiteral:
		return w.literal(b)
	case jsonInt16, jsonUint16, jsonInt32, jsonUint32, jsonInt64, jsonUint64:
		return w.integer(kind, b)
	case jsonDouble:
		if len(b) < 8 {
			return errJSON
		}
		return w.double(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case jsonString:
		s, err := w.counted(b)
		if err != nil {
			return err
		}
		w.quote(s)
		return nil
	case jsonOpaque:
		if len(b) < 1 {
			return errJSON
		}
		data, err := w.counted(b[1:])
		if err != nil {
			return err
		}
		return w.opaque(b[0], data)
	}
	return errJSON
}

// container renders an object or array: count, size in bytes, then for an
// object an entry (offset, length) per key, then an entry (type, value or
// offset) per value. Numbers are 2 bytes wide in the small forms, 4 in the
// large ones, but a key's length is always 2.
func (w *jsonWalk) container(kind byte, b []byte, depth int) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("the JSON nests deeper than %d", maxJSONDepth)
	}
	width, object := 2, kind == jsonSmallObject || kind == jsonLargeObject
	if kind == jsonLargeObject || kind == jsonLargeArray {
		width = 4
	}
	if len(b) < 2*width {
		return errJSON
	}
	count, size := littleEndian(b[:width]), littleEndian(b[width:2*width])
	keyEntry, valueEntry := uint64(0), uint64(1+width)
	if object {
		keyEntry = uint64(width + 2)
	}
	head := uint64(2*width) + count*(keyEntry+valueEntry)
	if size > uint64(len(b)) || head > size {
		return errJSON
	}
	b = b[:size]
	keys, values := b[2*width:], b[uint64(2*width)+count*keyEntry:head]
	open, closing := byte('['), byte(']')
	if object {
		open, closing = '{', '}'
	}
	w.dst = append(w.dst, open)
	for i := range count {
		if i > 0 {
			w.dst = append(w.dst, ',', ' ')
		}
		if w.budget -= int(keyEntry + valueEntry); w.budget < 0 {
			return errJSON
		}
		if object {
			if err := w.key(b, keys[i*keyEntry:], width); err != nil {
				return err
			}
		}
		if err := w.entry(b, values[i*valueEntry:][:valueEntry], depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, closing)
	return nil
}

func (w *jsonWalk) key(b, entry []byte, width int) error {
	start, length := littleEndian(entry[:width]), littleEndian(entry[width:width+2])
	if start+length > uint64(len(b)) {
		return errJSON
	}
	if w.budget -= int(length); w.budget < 0 {
		return errJSON
	}
	w.quote(b[start : start+length])
	w.dst = append(w.dst, ':', ' ')
	return nil
}

// entry renders the value of an entry. Small values lie in the entry itself.
func (w *jsonWalk) entry(b, entry []byte, depth int) error {
	kind, field := entry[0], entry[1:]
	switch kind {
	case jsonLiteral, jsonInt16, jsonUint16:
		return w.value(kind, field, depth)
	case jsonInt32, jsonUint32:
		if len(field) == 4 {
			return w.value(kind, field, depth)
		}
	}
	start := littleEndian(field)
	if start >= uint64(len(b)) {
		return errJSON
	}
	return w.value(kind, b[start:], depth)
}

func (w *jsonWalk) literal(b []byte) error {
	if len(b) < 1 || b[0] > 2 {
		return errJSON
	}
	w.dst = append(w.dst, [3]string{"null", "true", "false"}[b[0]]...)
	return nil
}

func (w *jsonWalk) integer(kind byte, b []byte) error {
	size := 2 << ((kind - jsonInt16) / 2)
	if len(b) < size {
		return errJSON
	}
	v := littleEndian(b[:size])
	if (kind-jsonInt16)%2 == 0 {
		w.dst = strconv.AppendInt(w.dst, signed(v, size), 10)
	} else {
		w.dst = strconv.AppendUint(w.dst, v, 10)
	}
	return nil
}

// double renders a number with a fraction or an exponent, as MySQL does: 1.0, not 1.
func (w *jsonWalk) double(f float64) error {
	start := len(w.dst)
	var err error
	if w.dst, err = AppendFloat(w.dst, f, 64); err != nil {
		return err
	}
	for _, c := range w.dst[start:] {
		if c == '.' || c == 'e' {
			return nil
		}
	}
	w.dst = append(w.dst, '.', '0')
	return nil
}

// counted reads a length and returns the bytes after it. The length has seven bits in
// each byte, the lowest first; the high bit is set in every byte but the last.
func (w *jsonWalk) counted(b []byte) ([]byte, error) {
	var n uint64
	for i := range min(len(b), 5) {
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			b = b[i+1:]
			if n > uint64(len(b)) {
				return nil, errJSON
			}
			if w.budget -= int(n); w.budget < 0 {
				return nil, errJSON
			}
			return b[:n], nil
		}
	}
	return nil, errJSON
}

func (w *jsonWalk) quote(s []byte) {
	w.dst = append(appendEscaped(append(w.dst, '"'), s, jsonAsIs), '"')
}

// opaque renders a value of an SQL type inside JSON.
func (w *jsonWalk) opaque(kind byte, b []byte) error {
	var err error
	switch kind {
	case wireNewDecimal:
		if len(b) < 2 {
			return errJSON
		}
		w.dst, err = appendDecimal(w.dst, b[2:], b[0], b[1])
		return err
	case wireDate, wireNewDate, wireTime, wireDatetime, wireTimestamp:
		if len(b) != 8 {
			return errJSON
		}
		return w.temporal(kind, int64(binary.LittleEndian.Uint64(b)))
	}
	w.dst = append(w.dst, `"base64:type`...)
	w.dst = append(strconv.AppendUint(w.dst, uint64(kind), 10), ':')
	for len(b) > jsonLine {
		w.dst = append(base64.StdEncoding.AppendEncode(w.dst, b[:jsonLine]), `\n`...)
		b = b[jsonLine:]
	}
	w.dst = append(base64.StdEncoding.AppendEncode(w.dst, b), '"')
	return nil
}

// jsonLine is the number of bytes that MySQL encodes in one line of base64.
const jsonLine = 57

// temporal renders MySQL's packed form: the fields, then 24 bits of microseconds. The
// whole number is negative for a negative TIME.
func (w *jsonWalk) temporal(kind byte, v int64) (err error) {
	w.dst = append(w.dst, '"')
	negative := v < 0
	if negative {
		v = -v
	}
	fields, micros := uint64(v)>>24, uint64(v)&(1<<24-1)
	switch {
	case kind == wireTime:
		if negative {
			w.dst = append(w.dst, '-')
		}
		w.dst, err = appendTimeBits(w.dst, fields, micros, maxFraction)
	case negative:
		err = errTemporal
	case kind == wireDate || kind == wireNewDate:
		month := fields >> 22
		if month/13 > 9999 {
			return errTemporal
		}
		w.dst = appendDate(w.dst, month/13, month%13, fields>>17&31)
	default:
		w.dst, err = appendDatetimeBits(w.dst, fields, micros, maxFraction)
	}
	w.dst = append(w.dst, '"')
	return err
}

// validity decides how appendEscaped treats bytes that are not UTF-8.
type validity bool

const (
	jsonAsIs  validity = false // keep them: a server's JSON is valid already
	jsonValid validity = true  // replace them with U+FFFD
)

// appendEscaped appends s with exactly the escapes that JSON requires and MySQL writes.
func appendEscaped[T string | []byte](dst []byte, s T, v validity) []byte {
	const digits = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf && v == jsonValid {
			var b [utf8.UTFMax]byte
			if r, n := utf8.DecodeRune(b[:copy(b[:], s[i:])]); r != utf8.RuneError || n > 1 {
				i += n - 1
				continue
			}
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			start = i + 1
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(append(dst, s[start:i]...), '\\')
		if j := strings.IndexByte("\"\\\b\t\n\f\r", c); j >= 0 {
			dst = append(dst, "\"\\btnfr"[j])
		} else {
			dst = append(dst, 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		start = i + 1
	}
	return append(dst, s[start:]...)
}

// AppendQuoted appends s as a JSON string with exactly the escapes that JSON requires
// and MySQL writes. Bytes that are not UTF-8 become U+FFFD.
func AppendQuoted[T string | []byte](dst []byte, s T) []byte {
	return append(appendEscaped(append(dst, '"'), s, jsonValid), '"')
}
