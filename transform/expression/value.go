package expression

import (
	"cmp"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/dateformat"
	"rowfall/transform/decimal"
)

// Kind is the static type of an expression.
type Kind uint8

// The kinds.
const (
	Null    Kind = iota // the literal nil, or an expression that is nil for every row
	Bool                // a condition
	Integer             // 64 bits, signed
	Exact               // a decimal number of any precision
	Float
	Text
	Moment // a DATE, DATETIME or TIMESTAMP, held as the text that MySQL prints
	Clock  // a TIME, held as the text that MySQL prints
)

var kindNames = [...]string{
	"nil", "a condition", "an integer", "an exact number", "a float", "text", "a date", "a time",
}

// String returns the kind's name with its article, for messages.
func (k Kind) String() string { return kindNames[k] }

func (k Kind) numeric() bool { return k == Integer || k == Exact || k == Float }

// value is the value of a node. The kind of the node decides which field is used.
type value struct {
	null bool  // the value is nil
	i    int64 // Integer; Bool as 0 or 1
	f    float64
	t    []byte // Text, Moment, Clock
	d    decimal.Number
}

func boolean(b bool) value {
	if b {
		return value{i: 1}
	}
	return value{}
}

// Scratch holds the buffers of one evaluation at a time. Each goroutine has its own. The zero value
// is ready for use.
type Scratch struct {
	row  *binlog.Row
	old  *binlog.Row   // see SetOld
	view *columns.View // through which both rows are read
	buf  []byte        // texts that are computed
	// date is the date that format() prints. A variable there would be allocated for each row.
	date dateformat.Date
	// err is the first error of the evaluation. Values that are computed after it are undefined.
	err    error
	column int // see EvalError
}

// reset prepares the evaluation for row r.
func (s *Scratch) reset(r *binlog.Row, v *columns.View) {
	s.view = v
	s.row, s.buf, s.err, s.column = r, s.buf[:0], nil, -1
}

// Release drops the references to the last rows, and the buffer if it is larger than maxKept bytes.
func (s *Scratch) Release(maxKept int) {
	s.row, s.old = nil, nil
	if cap(s.buf) > maxKept {
		s.buf = nil
	}
}

// Kept returns the size of the buffer in bytes.
func (s *Scratch) Kept() int { return cap(s.buf) }

// fail records an error that no single column causes, unless there is an error already.
func (s *Scratch) fail(err error) value {
	if s.err == nil {
		s.err = err
	}
	return value{}
}

// text returns the text of a column. The text is valid until the end of the evaluation: if buf
// grows, earlier texts keep the old array.
func (s *Scratch) text(column int) []byte {
	start := len(s.buf)
	b, err := s.view.AppendText(s.buf, s.row, column)
	if err != nil {
		s.failColumn(column, err)
		return nil
	}
	s.buf = b
	return b[start:len(b):len(b)]
}

// failColumn records an error that a column causes, unless there is an error already.
func (s *Scratch) failColumn(column int, err error) value {
	if s.err == nil {
		s.err, s.column = err, column
	}
	return value{}
}

var errOverflow = errors.New("integer overflow: the result does not fit 64 bits; " +
	"write decimal(x) around an operand")

var errNotInteger = errors.New("is not a 64-bit integer")

// parseInteger parses an optional minus sign and at most 19 digits.
func parseInteger(b []byte) (int64, error) {
	d := b
	negative := len(d) > 0 && d[0] == '-'
	if negative {
		d = d[1:]
	}
	if len(d) == 0 || len(d) > 19 {
		return 0, fmt.Errorf("%.40q is not a 64-bit integer", b)
	}
	var u uint64
	for _, c := range d {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%.40q is not a 64-bit integer", b)
		}
		u = u*10 + uint64(c-'0')
	}
	if negative && u <= 1<<63 {
		return int64(-u), nil
	}
	if u > 1<<63-1 {
		return 0, errOverflow
	}
	return int64(u), nil
}

// midnight is the longest text of a date. Its end completes a date that is shorter.
const midnight = "0000-00-00 00:00:00.000000"

// compareMoments compares two dates as MySQL does: a date without time is at midnight.
func compareMoments(a, b []byte) int {
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(momentByte(a, i), momentByte(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// momentByte returns byte i of the text of a date that is completed by midnight.
func momentByte(t []byte, i int) byte {
	switch {
	case i < len(t):
		return t[i]
	case i < len(midnight):
		return midnight[i]
	}
	return '0'
}

// number parses up to width digits and returns the rest of the text. ok is false if there is no
// digit.
func number(b []byte, width int) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < width && '0' <= b[i] && b[i] <= '9' {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}

// clockMicros parses the text of a TIME, such as -838:59:59.000000, and returns microseconds.
func clockMicros(b []byte) (int64, error) {
	text := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	var part [3]int64
	for i, width := range []int{3, 2, 2} {
		if i > 0 {
			if len(b) == 0 || b[0] != ':' {
				return 0, notClock(text)
			}
			b = b[1:]
		}
		n, rest, ok := number(b, width)
		if !ok || i > 0 && n > 59 {
			return 0, notClock(text)
		}
		part[i], b = n, rest
	}
	micros := ((part[0]*60+part[1])*60 + part[2]) * 1e6
	if len(b) > 0 {
		if b[0] != '.' || len(b) > 7 {
			return 0, notClock(text)
		}
		n, rest, _ := number(b[1:], 6)
		if len(rest) > 0 {
			return 0, notClock(text)
		}
		for range 7 - len(b) {
			n *= 10
		}
		micros += n
	}
	if negative {
		micros = -micros
	}
	return micros, nil
}

func notClock(b []byte) error { return fmt.Errorf("%.40q is not a time like 10:30:00", b) }

func notMoment(b []byte) error {
	return fmt.Errorf("%.40q is not a date like 2024-05-01 or 2024-05-01 10:00:00", b)
}

var errNoMoment = errors.New("is a date with a zero year, month or day, which is no point in time")

// unixSeconds parses the text of a date in UTC, and returns the seconds since 1970 with as many
// decimal places as the text has.
func unixSeconds(t []byte) (decimal.Number, error) {
	d, err := parseDate(t)
	switch {
	case err != nil:
		return decimal.Number{}, err
	case d.Year == 0 || d.Month == 0 || d.Day == 0:
		return decimal.Number{}, errNoMoment
	}
	seconds := int64(d.Days()*86400 + d.Hour*3600 + d.Minute*60 + d.Second)
	if len(t) <= 20 {
		return decimal.New(seconds, 0), nil
	}
	digits := len(t) - 20
	fraction, _, _ := number(t[20:], digits)
	return decimal.New(seconds, 0).Add(decimal.New(fraction, digits)), nil
}

// momentShaped reports whether t has the form of 0000-00-00 00:00:00.000000, up to the day, the
// second or any digit of the fraction.
func momentShaped(t []byte) bool {
	if n := len(t); n != 10 && n != 19 && (n < 21 || n > 26) {
		return false
	}
	for i, c := range t {
		if p := midnight[i]; p == '0' && (c < '0' || c > '9') || p != '0' && c != p {
			return false
		}
	}
	return true
}
