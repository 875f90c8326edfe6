package transform

import (
	"errors"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/template"
)

var errTooLong = errors.New("is larger than the 512 MiB that Redis takes")

// Verbs as they stand on the wire.
const (
	verbDel  = "$3\r\nDEL\r\n"
	verbSet  = "$3\r\nSET\r\n"
	verbHSet = "$4\r\nHSET\r\n"
	verbHDel = "$4\r\nHDEL\r\n"
	verbSAdd = "$4\r\nSADD\r\n"
	verbSRem = "$4\r\nSREM\r\n"
	verbZAdd = "$4\r\nZADD\r\n"
	verbZRem = "$4\r\nZREM\r\n"
)

// begin opens a command of n arguments, the verb included.
func (u *Commands) begin(n int, verb string) {
	u.Count++
	u.Bytes = append(resp.AppendArray(u.Bytes, n), verb...)
}

func (u *Commands) bulk(b []byte) { u.Bytes = resp.AppendBulk(u.Bytes, b) }

// gap is the room in front of a value for a length of up to nine digits.
const gap = "$000000000\r\n"

// open makes room for a bulk's header with a length of the given digits; what
// is appended after it is the bulk's content.
func (u *Commands) open(digits int) {
	u.Bytes = append(u.Bytes, gap[:digits+1]...)
	u.Bytes = append(u.Bytes, '\r', '\n')
}

// close ends the bulk whose content starts at body, moving it if its length has
// another number of digits than open made room for.
func (u *Commands) close(body, digits int) error {
	b := u.Bytes
	n := len(b) - body
	if n > resp.MaxBulk {
		return errTooLong
	}
	if need := decimalDigits(n); need != digits {
		if shift := need - digits; shift > 0 {
			b = append(b, gap[:shift]...)
			copy(b[body+shift:], b[body:body+n])
			body += shift
		} else {
			copy(b[body+shift:], b[body:])
			b = b[:len(b)+shift]
			body += shift
		}
		b[body-2], b[body-1] = '\r', '\n'
		digits = need
	}
	for i, v := body-3, n; i > body-3-digits; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	u.Bytes = append(b, '\r', '\n')
	return nil
}

func decimalDigits(n int) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}

// column appends a column's text as a bulk.
func (u *Commands) column(r *binlog.Row, column, digits int) error {
	u.open(digits)
	body := len(u.Bytes)
	b, err := r.AppendText(u.Bytes, column)
	if err != nil {
		return &template.ColumnError{Column: column, Err: err}
	}
	u.Bytes = b
	if err := u.close(body, digits); err != nil {
		return &template.ColumnError{Column: column, Err: err}
	}
	return nil
}

// likelyDigits guesses how many digits the length of a column's text has.
func likelyDigits(c *binlog.Column) int { return decimalDigits(c.TypicalLength()) }
