package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// MatchRequest describes rows of a table by the values of some of their columns.
type MatchRequest struct {
	Table *binlog.Table
	// Columns are the indexes of the columns that are compared. An index of the table should begin
	// with them.
	Columns []int
	// Values holds, for each wanted row, the text of each of Columns, as MySQL prints it and not
	// NULL. A row is read if the server finds its columns equal to one entry: in a collation, rows
	// of other texts may be equal too. At most a few hundred entries keep the SELECT short.
	Values [][][]byte
	// Server, Replica and Silence are as in ChunkRequest.
	Server  string
	Replica bool
	Silence time.Duration
}

// ReadMatching reads the rows that a request matches, in no order. It waits, returns a fence and
// returns errors as Read does.
func ReadMatching(
	ctx context.Context, c *mysql.Conn, m MatchRequest, applied binlog.Position,
	row func(*binlog.Row) error,
) (fence binlog.Position, err error) {
	sql, err := selectMatching(m)
	if err != nil {
		return fence, fmt.Errorf("read rows of %s: %w", m.Table.FullName(), err)
	}
	layout := binlog.NewTextLayout(m.Table)
	var view binlog.Row
	s := bracketedSelect{
		conn: c, table: m.Table, sql: sql, server: m.Server, silence: m.Silence,
		replica: m.Replica, invalidDates: m.hasInvalidDate(),
		row: func(cells [][]byte) error {
			view.SetText(layout, cells)
			return row(&view)
		},
	}
	return s.run(ctx, applied)
}

// hasInvalidDate reports whether a value is a date that is in no calendar.
func (m *MatchRequest) hasInvalidDate() bool {
	for i, k := range m.Columns {
		switch m.Table.Columns[k].Type {
		case binlog.TypeDate, binlog.TypeDatetime:
			if slices.ContainsFunc(m.Values, func(v [][]byte) bool { return isInvalidDate(v[i]) }) {
				return true
			}
		}
	}
	return false
}

// selectMatching returns the query for the rows that match.
func selectMatching(m MatchRequest) (string, error) {
	if len(m.Columns) == 0 || len(m.Values) == 0 {
		return "", errors.New("no values to read rows by")
	}
	exprs := make([]string, len(m.Table.Columns))
	for i := range m.Table.Columns {
		c := &m.Table.Columns[i]
		exprs[i] = binlog.SelectExpr(c, "r."+sqltext.QuoteName(c.Name))
	}
	var sql strings.Builder
	sql.WriteString("SELECT " + strings.Join(exprs, ", ") +
		" FROM " + sqltext.QuoteTable(m.Table.Database, m.Table.Name) + " AS r WHERE ")
	for i, values := range m.Values {
		if len(values) != len(m.Columns) {
			return "", fmt.Errorf("%d values for %d columns", len(values), len(m.Columns))
		}
		if i > 0 {
			sql.WriteString(" OR ")
		}
		for j, k := range m.Columns {
			c := &m.Table.Columns[k]
			literal, err := textLiteral(c, values[j])
			if err != nil {
				return "", fmt.Errorf("column %s: %w", c.Name, err)
			}
			if j > 0 {
				sql.WriteString(" AND ")
			}
			column := "r." + sqltext.QuoteName(c.Name)
			if c.Type == binlog.TypeEnum && len(values[j]) == 0 {
				// An invalid value has the number 0, and prints as the label '' does.
				sql.WriteString("(" + column + " = '' OR " + column + " = 0)")
				continue
			}
			sql.WriteString(column + " = " + literal)
		}
	}
	return sql.String(), nil
}

// ErrNoSuchValue is returned for a text that no value of the column prints. No row matches it.
var ErrNoSuchValue = errors.New("not a value of the column")

// textLiteral returns the literal that equals a value of the column whose text is given.
func textLiteral(c *binlog.Column, text []byte) (string, error) {
	literal, err := "", error(nil)
	if (c.Key() == binlog.KeyText || c.HasLabels()) && !utf8.Valid(text) {
		return "", fmt.Errorf("%w: %.80q is not UTF-8", ErrNoSuchValue, text)
	}
	switch c.Key() {
	case binlog.KeyNumber, binlog.KeyShortYear:
		if !isNumber(text) {
			return "", fmt.Errorf("%w: %.80q is not a number", ErrNoSuchValue, text)
		}
		literal, err = allowedLiteral(text, "", "-.")
	case binlog.KeyFloat:
		return floatTextLiteral(c, text)
	case binlog.KeyOrdinal:
		if c.HasLabels() {
			return stringLiteral(string(text)), nil
		}
		literal, err = allowedLiteral(text, "", "")
	case binlog.KeyTemporal:
		if !isMoment(c.Type, text) {
			return "", fmt.Errorf("%w: %.80q is not a %s", ErrNoSuchValue, text, c.SQLType)
		}
		literal, err = allowedLiteral(text, "'", "-.: ")
	case binlog.KeyAddress:
		literal, err = allowedLiteral(text, "'", "-.:abcdefABCDEF")
	case binlog.KeyText:
		return stringLiteral(string(text)), nil
	case binlog.KeyBytes:
		return bytesLiteral(text), nil
	default:
		return "", fmt.Errorf("a %s cannot be compared exactly", c.SQLType)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoSuchValue, err)
	}
	return literal, nil
}

// floatTextLiteral is textLiteral for a floating-point column. The text of a FLOAT has as many
// digits as distinguish it from other FLOATs; the literal has those of the same number as a DOUBLE.
func floatTextLiteral(c *binlog.Column, text []byte) (string, error) {
	bits := 64
	if c.Type == binlog.TypeFloat {
		bits = 32
	}
	f, err := strconv.ParseFloat(string(text), bits)
	if err == nil {
		var printed []byte
		if printed, err = binlog.AppendFloat(nil, f, bits); err == nil &&
			!bytes.Equal(printed, text) {
			err = errors.New("it prints in another form")
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w: %.80q: %w", ErrNoSuchValue, text, err)
	}
	return floatLiteral(strconv.AppendFloat(nil, f, 'g', -1, 64))
}

// isNumber reports whether text is an integer or a decimal as MySQL prints it. Other texts, such as
// 7-8, may be expressions or errors in a statement.
func isNumber(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("-"))
	whole, fraction, hasPoint := bytes.Cut(text, []byte("."))
	return areDigits(whole) && (!hasPoint || areDigits(fraction))
}

func areDigits(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(text) > 0
}

// isMoment reports whether text is a date or time as MySQL prints it, of a type that KeyTemporal
// stands for. MySQL rejects a statement with another text (error 1525). A day may be past the end
// of its month, see isInvalidDate.
func isMoment(t binlog.Type, text []byte) bool {
	moment, fraction, hasFraction := bytes.Cut(text, []byte("."))
	if hasFraction && (t == binlog.TypeDate || !areDigits(fraction) || len(fraction) > 6) {
		return false
	}
	date, clock := moment, moment
	switch t {
	case binlog.TypeTime:
		clock = bytes.TrimPrefix(clock, []byte("-"))
		hours, _, _ := bytes.Cut(clock, []byte(":"))
		return len(hours) <= 3 && areNumbers(clock, ":", 838, 59, 59)
	case binlog.TypeDate:
	default:
		var hasClock bool
		if date, clock, hasClock = bytes.Cut(moment, []byte(" ")); !hasClock ||
			len(clock) != len("10:00:00") || !areNumbers(clock, ":", 23, 59, 59) {
			return false
		}
	}
	return len(date) == len("2021-02-30") && areNumbers(date, "-", 9999, 12, 31)
}

// areNumbers reports whether text consists of three numbers of two digits or more, up to most,
// between separators.
func areNumbers(text []byte, separator string, most ...int) bool {
	parts := bytes.Split(text, []byte(separator))
	if len(parts) != len(most) {
		return false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(string(part))
		if err != nil || !areDigits(part) || len(part) < 2 || n > most[i] {
			return false
		}
	}
	return true
}

// CheckValues returns an error, which wraps ErrNoSuchValue, if a text is not one that a value of
// its column prints: then no row of the table has it.
func CheckValues(t *binlog.Table, columns []int, texts [][]byte) error {
	for i, k := range columns {
		if _, err := textLiteral(&t.Columns[k], texts[i]); errors.Is(err, ErrNoSuchValue) {
			return fmt.Errorf("column %s.%s: %w", t.FullName(), t.Columns[k].Name, err)
		}
	}
	return nil
}

// CheckMatch returns an error if rows cannot be matched by the columns.
func CheckMatch(t *binlog.Table, columns []int) error {
	for _, k := range columns {
		c := &t.Columns[k]
		switch c.Key() {
		case binlog.KeyNone:
			return fmt.Errorf("column %s.%s: a %s cannot be compared exactly",
				t.FullName(), c.Name, c.SQLType)
		}
	}
	return nil
}
