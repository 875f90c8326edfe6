package binlog

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Row is a view of one row. It borrows the bytes of the event or result that it came
// from and is valid as long as these bytes are. A Row that is pointed at one row after
// the other allocates nothing.
type Row struct {
	layout *Layout
	// image and spans belong to a row image, cells to a row of a SELECT.
	image []byte
	spans []span
	cells [][]byte
	size  int // of the part of image that is the row's
	// patched holds the values of JSON columns that were logged as changes of the old value, one
	// after the other. patches are the ranges of these values in patched.
	patched []byte
	patches []span
	// nulls is reused for the bitmaps of images that lack columns, see readNulls.
	nulls []byte
}

// SetText points r at a row of a SELECT: cells[i] is column i's text, nil for
// NULL. There must be a cell for every column. The cells are borrowed.
func (r *Row) SetText(l *Layout, cells [][]byte) {
	r.layout, r.cells, r.image = l, cells, nil
}

// Size returns about how many bytes the row's values have, as they were read.
func (r *Row) Size() int {
	if !r.layout.text {
		return r.size
	}
	size := 0
	for _, cell := range r.cells {
		size += len(cell)
	}
	return size
}

// Table returns the row's table.
func (r *Row) Table() *Table { return r.layout.table }

// IsNull reports whether column i is NULL.
func (r *Row) IsNull(i int) bool {
	if r.layout.text {
		return r.cells[i] == nil
	}
	return r.spans[i] == nullSpan
}

// Raw returns column i's undecoded bytes; nil for NULL. Two rows of one layout hold the
// same value in a column if their raw bytes are equal; equal values can have different
// raw bytes.
func (r *Row) Raw(i int) []byte {
	if r.layout.text {
		return r.cells[i]
	}
	s := r.spans[i]
	if s.start == outsideImage {
		return r.patch(s)
	}
	return r.image[s.start:s.end:s.end]
}

// TextBound returns a number of bytes that the text of column i does not exceed, without reading
// the value. ok is false if that takes reading it.
func (r *Row) TextBound(i int) (n int, ok bool) {
	raw, k := r.Raw(i), &r.layout.columns[i]
	switch k.encoding {
	case encodingText, encodingBytes, encodingChar:
		if k.decoder == nil {
			return len(raw), true
		}
		return utf8.UTFMax * len(raw), true
	case encodingBinary:
		return k.size, true
	}
	return 0, false
}

// Text returns the text of column i, a part of the row's bytes, if AppendText would append just
// these bytes. ok is false for NULL, and for a text that must be computed.
func (r *Row) Text(i int) (text []byte, ok bool) {
	if !r.layout.columns[i].isVerbatim {
		return nil, false
	}
	text = r.Raw(i)
	return text, text != nil
}

// Texts returns the texts of all columns, nil for a NULL, if Text would return each of them. It
// returns nil for every row of the binlog. The texts are parts of the row's bytes.
func (r *Row) Texts() [][]byte {
	if !r.layout.isVerbatim {
		return nil
	}
	return r.cells
}

// AppendText appends column i (from 0, below the number of columns) to dst as text; the
// package comment defines the text. A NULL appends nothing. The error, if any, means
// that the bytes are corrupt or that the column's type does not allow them.
func (r *Row) AppendText(dst []byte, i int) ([]byte, error) {
	raw := r.Raw(i)
	if raw == nil {
		return dst, nil
	}
	k, c := &r.layout.columns[i], &r.layout.table.Columns[i]
	out, err := k.appendText(dst, raw, c)
	if err != nil {
		return dst, r.badValue(i, err)
	}
	return out, nil
}

func (r *Row) badValue(i int, err error) error {
	t := r.layout.table
	return fmt.Errorf("read %s.%s: %w", t.FullName(), t.Columns[i].Name, err)
}

// appendText is one switch over all encodings: the only branch that a value costs.
func (k *columnLayout) appendText(dst, raw []byte, c *Column) ([]byte, error) {
	switch k.encoding {
	case encodingText, encodingBytes, encodingChar:
		return k.appendString(dst, raw), nil
	case encodingInt:
		return appendInt(dst, signed(littleEndian(raw), len(raw))), nil
	case encodingUint:
		return appendUint(dst, littleEndian(raw)), nil
	case encodingDecimal:
		return appendDecimal(dst, raw, k.precision, k.scale)
	case encodingFloat:
		return AppendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), 32)
	case encodingDouble:
		return AppendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(raw)), 64)
	case encodingBit:
		return appendBit(dst, raw), nil
	case encodingYear:
		return appendPadded(dst, k.year(raw), 4), nil
	case encodingDate, encodingTime, encodingDatetime, encodingTimestamp,
		encodingOldTime, encodingOldDatetime, encodingOldTimestamp,
		encodingHiresTime, encodingHiresDatetime, encodingHiresTimestamp:
		return k.appendTemporal(dst, raw)
	case encodingBinary:
		dst = append(dst, raw...)
		for range k.size - len(raw) {
			dst = append(dst, 0)
		}
		return dst, nil
	case encodingEnum:
		m, err := label(c.Values, raw)
		return append(dst, m...), err
	case encodingSet:
		return appendSet(dst, c.Values, raw)
	case encodingJSON:
		return appendBinaryJSON(dst, raw)
	case encodingVector:
		return appendVector(dst, raw)
	}
	return k.appendRare(dst, raw, c)
}

// appendRare covers MariaDB's own types and the encodings of a SELECT.
func (k *columnLayout) appendRare(dst, raw []byte, c *Column) ([]byte, error) {
	switch k.encoding {
	case encodingCompressed:
		return k.appendCompressed(dst, raw, c, false)
	case encodingShortYear:
		return appendPadded(dst, k.year(raw), 2), nil
	case encodingUUID, encodingOldUUID:
		return appendStoredUUID(dst, padded(raw), k.encoding == encodingOldUUID), nil
	case encodingInet4:
		address := padded(raw)
		return appendInet4(dst, address[:4]), nil
	case encodingInet6:
		return appendInet6(dst, padded(raw)), nil
	case encodingFloatText:
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return dst, fmt.Errorf("%q is not a number", Clip(raw, maxQuoted))
		}
		return AppendFloat(dst, float64(float32(f)), 32)
	case encodingNumberText:
		return append(dst, trimZerofill(raw)...), nil
	case encodingUnknown:
		if c.Unreadable != "" {
			return dst, errors.New(c.Unreadable + ", or exclude it")
		}
		return dst, errors.New(unknownCharset(c) +
			": convert the column to utf8mb4, or exclude it")
	}
	return dst, fmt.Errorf("the column's encoding %d has no text", k.encoding)
}

func (k *columnLayout) appendTemporal(dst, raw []byte) ([]byte, error) {
	switch k.encoding {
	case encodingDate:
		return appendPackedDate(dst, raw)
	case encodingTime:
		return appendTime2(dst, raw, k.scale)
	case encodingDatetime:
		return appendDatetime2(dst, raw, k.scale)
	case encodingTimestamp:
		return appendUnix(dst, bigEndian(raw[:4]), bigEndian(raw[4:])*fractionUnit[len(raw)-4],
			k.scale)
	case encodingOldTime:
		return appendOldTime(dst, raw)
	case encodingOldDatetime:
		return appendOldDatetime(dst, raw)
	case encodingHiresTime:
		return appendHiresTime(dst, raw, k.scale)
	case encodingHiresDatetime:
		return appendHiresDatetime(dst, raw, k.scale)
	case encodingHiresTimestamp:
		return appendHiresTimestamp(dst, raw, k.scale)
	}
	return appendUnix(dst, littleEndian(raw), 0, 0)
}

// year returns the year that a YEAR prints.
func (k *columnLayout) year(raw []byte) uint64 {
	switch {
	case k.encoding == encodingShortYear:
		return uint64(raw[0]) % 100
	case raw[0] == 0:
		return 0
	}
	return 1900 + uint64(raw[0])
}

// appendString appends text as UTF-8 and bytes as they are.
func (k *columnLayout) appendString(dst, raw []byte) []byte {
	if k.decoder != nil {
		return k.appendDecoded(dst, raw)
	}
	if n := len(raw); k.encoding == encodingChar && n > 0 && raw[n-1] == ' ' {
		raw = bytes.TrimRight(raw, " ")
	}
	return append(dst, raw...)
}

// appendDecoded appends text of another character set than UTF-8. Trailing spaces are removed from
// the result, because a space has several bytes in some character sets.
func (k *columnLayout) appendDecoded(dst, raw []byte) []byte {
	start := len(dst)
	dst = k.decoder.Append(dst, raw)
	if k.encoding == encodingChar {
		dst = dst[:start+len(bytes.TrimRight(dst[start:], " "))]
	}
	return dst
}

func appendSet(dst []byte, values []string, raw []byte) ([]byte, error) {
	v, err := setBits(values, raw)
	for first := true; v != 0; v &= v - 1 {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, values[bits.TrailingZeros64(v)]...)
	}
	return dst, err
}

// trimZerofill removes the leading zeros that a ZEROFILL column prints.
func trimZerofill(b []byte) []byte {
	for len(b) > 1 && b[0] == '0' && b[1] != '.' {
		b = b[1:]
	}
	return b
}

// AppendJSON appends column i to dst as a complete JSON value; the package comment
// defines the value. It returns the same errors as AppendText.
func (r *Row) AppendJSON(dst []byte, i int) ([]byte, error) {
	raw := r.Raw(i)
	if raw == nil {
		return append(dst, "null"...), nil
	}
	k, c := &r.layout.columns[i], &r.layout.table.Columns[i]
	out, err := k.appendJSON(dst, raw, c)
	if err != nil {
		return dst, r.badValue(i, err)
	}
	return out, nil
}

func (k *columnLayout) appendJSON(dst, raw []byte, c *Column) ([]byte, error) {
	switch k.encoding {
	case encodingCompressed:
		return k.appendCompressed(dst, raw, c, true)
	case encodingUnknown:
		return k.appendText(dst, raw, c)
	}
	switch k.json {
	case asNumber, asDocument:
		return k.appendText(dst, raw, c)
	case asYear: // "0000" is not a JSON number
		if k.encoding == encodingYear || k.encoding == encodingShortYear {
			return strconv.AppendUint(dst, k.year(raw), 10), nil
		}
		return append(dst, trimZerofill(raw)...), nil
	case asArray:
		return k.appendSetJSON(dst, raw, c)
	case asBase64:
		return k.appendBase64(dst, raw, c)
	case asString:
	}
	if k.encoding == encodingEnum {
		m, err := label(c.Values, raw)
		return AppendQuoted(dst, m), err
	}
	dst = append(dst, '"')
	switch {
	case k.decoder != nil:
		return append(k.appendDecodedJSON(dst, raw), '"'), nil
	case k.encoding == encodingChar:
		dst = appendEscaped(dst, bytes.TrimRight(raw, " "), jsonValid)
	case k.encoding == encodingText:
		dst = appendEscaped(dst, raw, jsonValid)
	default: // the text consists of digits and punctuation and needs no escapes
		var err error
		if dst, err = k.appendText(dst, raw, c); err != nil {
			return dst, err
		}
	}
	return append(dst, '"'), nil
}

// appendDecodedJSON appends text of another character set than UTF-8 as the content of a JSON
// string. The spaces after the last other character are written only if another character follows.
func (k *columnLayout) appendDecodedJSON(dst, raw []byte) []byte {
	var b [utf8.UTFMax]byte
	spaces := 0
	for len(raw) > 0 {
		text, n := k.decoder.AppendNext(b[:0], raw)
		raw = raw[n:]
		if k.encoding == encodingChar && string(text) == " " {
			spaces++
			continue
		}
		for ; spaces > 0; spaces-- {
			dst = append(dst, ' ')
		}
		dst = appendEscaped(dst, text, jsonValid)
	}
	return dst
}

func (k *columnLayout) appendSetJSON(dst, raw []byte, c *Column) ([]byte, error) {
	dst = append(dst, '[')
	start := len(dst)
	if k.encoding == encodingText { // a label cannot contain a comma
		for len(raw) > 0 {
			m, rest, _ := bytes.Cut(raw, []byte{','})
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst, raw = AppendQuoted(dst, m), rest
		}
		return append(dst, ']'), nil
	}
	v, err := setBits(c.Values, raw)
	for ; v != 0; v &= v - 1 {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(dst, c.Values[bits.TrailingZeros64(v)])
	}
	return append(dst, ']'), err
}

func (k *columnLayout) appendBase64(dst, raw []byte, c *Column) ([]byte, error) {
	dst = append(dst, '"')
	if k.encoding == encodingBinary && len(raw) < k.size {
		whole, err := k.appendText(make([]byte, 0, k.size), raw, c)
		if err != nil {
			return dst, err
		}
		raw = whole
	}
	return append(base64.StdEncoding.AppendEncode(dst, raw), '"'), nil
}

// Int64 returns column i as a signed number. ok is false for NULL, for types other than
// integers, YEAR and BIT, and for numbers beyond int64.
func (r *Row) Int64(i int) (v int64, ok bool) {
	raw := r.Raw(i)
	if raw == nil {
		return 0, false
	}
	if k := &r.layout.columns[i]; k.encoding == encodingInt {
		return signed(littleEndian(raw), len(raw)), true
	}
	if !r.layout.text { // a text is not parsed twice: the error of a negative number allocates
		u, ok := r.Uint64(i)
		return int64(u), ok && u <= math.MaxInt64
	}
	if !integral(r.layout.table.Columns[i].Type) {
		return 0, false
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	return v, err == nil
}

// Uint64 returns column i as an unsigned number. ok is false for NULL, for types other
// than integers, YEAR and BIT, and for negative numbers.
func (r *Row) Uint64(i int) (v uint64, ok bool) {
	raw := r.Raw(i)
	if raw == nil {
		return 0, false
	}
	switch k := &r.layout.columns[i]; k.encoding {
	case encodingInt:
		s := signed(littleEndian(raw), len(raw))
		return uint64(s), s >= 0
	case encodingUint:
		return littleEndian(raw), true
	case encodingBit:
		return bigEndian(raw), true
	case encodingYear, encodingShortYear:
		return k.year(raw), true
	}
	if !integral(r.layout.table.Columns[i].Type) || !r.layout.text {
		return 0, false
	}
	v, err := strconv.ParseUint(string(raw), 10, 64)
	return v, err == nil
}

// integral reports whether the type's values are whole numbers. A DECIMAL is not
// among them, even with a scale of 0.
func integral(t Type) bool { return t.row().value == ValueInteger }

// Float64 returns column i, a FLOAT or DOUBLE, as a number. ok is false for NULL and
// for other types.
func (r *Row) Float64(i int) (v float64, ok bool) {
	raw := r.Raw(i)
	if raw == nil {
		return 0, false
	}
	switch c := &r.layout.table.Columns[i]; {
	case r.layout.columns[i].encoding == encodingFloat:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), true
	case r.layout.columns[i].encoding == encodingDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(raw)), true
	case c.Value() == ValueFloat:
		v, err := strconv.ParseFloat(string(raw), 64)
		if c.Type == TypeFloat {
			v = float64(float32(v))
		}
		return v, err == nil
	}
	return 0, false
}
