package columns

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"

	"rowfall/binlog"
)

// TooLong is what happens to a value that is longer than its limit (columns.max_bytes).
type TooLong uint8

const (
	// Reject makes reading the value an error, a *TooLongError.
	Reject TooLong = iota
	// Cut cuts the value at its limit, at the end of a character.
	Cut
	// Omit makes the value NULL.
	Omit
)

// TooLongError is returned for a value that is longer than its limit, and that is neither cut nor
// omitted. So no row with this value was ever written, in whatever form the row was read.
type TooLongError struct{ Size, Limit int }

// Error returns the size and the limit. The value itself is not shown.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("the value has %d bytes and max_bytes allows %d; raise max_bytes, "+
		"or shorten the value in MySQL", e.Size, e.Limit)
}

// restriction is how the values of a column are changed before they leave.
type restriction struct {
	// column describes the changed values.
	column binlog.Column
	mask   Mask
	key    *hmacKey // of the mask sha256
	// isBytes is set if the values are bytes, so that they are cut between any two bytes.
	isBytes bool
	limit   int // in bytes; 0 is no limit
	tooLong TooLong
}

// appendText appends the value of a column, which is not NULL. A value that is omitted appends
// nothing.
func (x *restriction) appendText(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	from := len(dst)
	dst, err := r.AppendText(dst, column)
	if err != nil {
		return dst, err
	}
	dst = x.mask.apply(dst, from, x.key, x.isBytes)
	size := len(dst) - from
	if x.limit == 0 || size <= x.limit {
		return dst, nil
	}
	switch x.tooLong {
	case Omit:
		return dst[:from], nil
	case Cut:
		n := x.limit
		for !x.isBytes && n > 0 && !utf8.RuneStart(dst[from+n]) {
			n--
		}
		return dst[:from+n], nil
	}
	return dst[:from], &TooLongError{size, x.limit}
}

// exceeds reports whether a value, which is not NULL, is longer than the limit. A value that cannot
// be read is not.
func (x *restriction) exceeds(r *binlog.Row, column int) bool {
	if x.limit == 0 {
		return false
	}
	if n, ok := r.TextBound(column); ok && n <= x.limit && x.mask.kind == noMask {
		return false
	}
	text, err := r.AppendText(nil, column)
	return err == nil && len(x.mask.apply(text, 0, x.key, x.isBytes)) > x.limit
}

// isNull reports whether a value is NULL, or omitted.
func (x *restriction) isNull(r *binlog.Row, column int) bool {
	return r.IsNull(column) || x.tooLong == Omit && x.exceeds(r, column)
}

// appendJSON appends a value as JSON. A masked or cut value is a string, in base64 if it is bytes.
func (x *restriction) appendJSON(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	if x.isNull(r, column) {
		return append(dst, "null"...), nil
	}
	isLong := x.exceeds(r, column)
	if x.mask.kind == noMask && !isLong {
		return r.AppendJSON(dst, column)
	}
	from := len(dst)
	dst, err := x.appendText(dst, r, column)
	if err != nil {
		return dst, err
	}
	end := len(dst)
	if x.isBytes {
		dst = append(dst, '"')
		dst = append(base64.StdEncoding.AppendEncode(dst, dst[from:end]), '"')
	} else {
		dst = binlog.AppendQuoted(dst, dst[from:end])
	}
	return dst[:from+copy(dst[from:], dst[end:])], nil
}
