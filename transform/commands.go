package transform

import (
	"errors"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/columns"
	"rowfall/transform/template"
)

// maxKeptCommands is the largest buffer, in bytes, that Reset keeps for the next commands.
const maxKeptCommands = 8 << 20

// Commands is a buffer of commands, encoded as RESP. The zero value is empty and ready for use.
//
// Some commands are deferred: they have no bytes yet, but a place among the bytes. Therefore only
// the methods of Commands may move or cut commands; see Mark.
type Commands struct {
	// Bytes holds the commands one after the other, without MULTI and EXEC. Deferred commands are
	// missing in it until Resolve.
	Bytes []byte
	// Count is the number of commands. A deferred command counts as one.
	Count int
	// Rows is the number of changes that Plan.Append appended, with or without commands.
	Rows int

	deferred []splice // in the order of their offsets
	texts    []byte   // the texts of deferred
	side     []byte   // a buffer of Resolve
}

// Reset removes the commands. Buffers are kept if they are not larger than 8 MiB, so that one huge
// row does not occupy its memory until the process ends.
func (u *Commands) Reset() {
	if cap(u.Bytes) > maxKeptCommands {
		u.Bytes = nil
	}
	if cap(u.texts) > maxKeptCommands {
		u.deferred, u.texts = nil, nil
	}
	u.Bytes, u.Count, u.Rows = u.Bytes[:0], 0, 0
	u.deferred, u.texts = u.deferred[:0], u.texts[:0]
}

// Size returns the number of bytes of all commands. The bytes of a deferred command are those of
// its texts.
func (u *Commands) Size() int { return len(u.Bytes) + len(u.texts) }

// Names of commands, encoded as RESP bulk strings.
const (
	verbDel  = "$3\r\nDEL\r\n"
	verbSet  = "$3\r\nSET\r\n"
	verbHSet = "$4\r\nHSET\r\n"
	verbHDel = "$4\r\nHDEL\r\n"
	verbSAdd = "$4\r\nSADD\r\n"
	verbSRem = "$4\r\nSREM\r\n"
	verbZAdd = "$4\r\nZADD\r\n"
	verbZRem = "$4\r\nZREM\r\n"

	verbRPush = "$5\r\nRPUSH\r\n"
	verbLPush = "$5\r\nLPUSH\r\n"
	verbLTrim = "$5\r\nLTRIM\r\n"
	verbXAdd  = "$4\r\nXADD\r\n"

	verbPExpireAt = "$9\r\nPEXPIREAT\r\n"
	verbPersist   = "$7\r\nPERSIST\r\n"
)

// maxBulk is resp.MaxBulk, except in tests.
var maxBulk = resp.MaxBulk

var errTooLong = errors.New("is larger than 512 MiB, the most that Redis accepts; " +
	"exclude the column, or limit it with max_bytes and too_long: truncate or omit")

// Append appends a command with its arguments.
func (u *Commands) Append(command ...[]byte) {
	u.Count++
	u.Bytes = resp.AppendArray(u.Bytes, len(command))
	for _, arg := range command {
		u.appendBulk(arg)
	}
}

// startCommand appends the header of a command and its verb. n counts the arguments that belong to
// the command, the verb included; the caller appends the other n-1 as bulk strings.
func (u *Commands) startCommand(n int, verb string) {
	u.Count++
	u.Bytes = append(resp.AppendArray(u.Bytes, n), verb...)
}

func (u *Commands) appendBulk(b []byte) { u.Bytes = resp.AppendBulk(u.Bytes, b) }

// appendColumn appends the text of a column as a bulk string. digits is the expected number of
// digits of the text's length.
func (u *Commands) appendColumn(v *columns.View, r *binlog.Row, column, digits int) error {
	if text, ok := v.Text(r, column); ok {
		if len(text) > maxBulk {
			return &template.ColumnError{Column: column, Err: errTooLong}
		}
		u.appendBulk(text)
		return nil
	}
	start := u.startBulk(digits)
	b, err := v.AppendText(u.Bytes, r, column)
	if err != nil {
		return &template.ColumnError{Column: column, Err: err}
	}
	u.Bytes = b
	if err := u.finishBulk(start, digits); err != nil {
		return &template.ColumnError{Column: column, Err: err}
	}
	return nil
}

// lengthPlaceholder takes the place of the header of a bulk string while the length is unknown. It
// has room for the nine digits of resp.MaxBulk.
const lengthPlaceholder = "$000000000\r\n"

// startBulk appends the header of a bulk string with room for a length of the given digits, and
// returns the offset at which the content starts. The caller appends the content to u.Bytes, then
// calls finishBulk.
func (u *Commands) startBulk(digits int) (start int) {
	u.Bytes = append(u.Bytes, lengthPlaceholder[:1+digits]...)
	u.Bytes = append(u.Bytes, '\r', '\n')
	return len(u.Bytes)
}

// finishBulk writes the length of the content since startBulk into the header, and ends the bulk
// string. If the length has more or fewer digits than startBulk made room for, the content moves.
func (u *Commands) finishBulk(start, digits int) error {
	b := u.Bytes
	n := len(b) - start
	if n > maxBulk {
		return errTooLong
	}
	if need := countDigits(n); need != digits {
		shift := need - digits
		if shift > 0 {
			b = append(b, lengthPlaceholder[:shift]...)
		}
		copy(b[start+shift:], b[start:start+n])
		start += shift
		b = b[:start+n]
		b[start-2], b[start-1] = '\r', '\n'
		digits = need
	}
	for i, v := start-3, n; i > start-3-digits; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	u.Bytes = append(b, '\r', '\n')
	return nil
}

// lengthDigitsHint returns the expected number of digits of the length of a column's text. A wrong
// hint costs a move of the text.
func lengthDigitsHint(c *binlog.Column) int { return countDigits(c.TypicalLength()) }

// countDigits returns the number of decimal digits of n, which is not negative.
func countDigits(n int) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}
