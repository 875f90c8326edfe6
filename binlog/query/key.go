package query

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// stringLiteral returns s as a string literal that no quoting rule can change.
func stringLiteral(s string) string { return "_utf8mb4 X'" + hex.EncodeToString([]byte(s)) + "'" }

// keyExpr returns the expression that selects a key column in a form from which keyLiteral can name
// the same value: strings as their stored bytes, because some do not survive a conversion to
// Unicode and back; ENUM, SET and BIT as the number by which the server orders them.
func keyExpr(c *binlog.Column, quoted string) string {
	switch c.Key() {
	case binlog.KeyText:
		return "CAST(" + quoted + " AS BINARY)"
	case binlog.KeyOrdinal:
		if c.HasLabels() {
			// A sum is a floating-point number, which cannot hold a SET of 64 labels exactly.
			return "CAST(" + quoted + " AS UNSIGNED)"
		}
		return quoted + "+0"
	case binlog.KeyShortYear:
		return quoted + "+0"
	case binlog.KeyFloat:
		return binlog.SelectExpr(c, quoted)
	}
	return quoted
}

// orderedExpr returns the expression to order rows by, so that their order is that in which
// comparedExpr compares.
func orderedExpr(c *binlog.Column, quoted string) string {
	if c.Key() == binlog.KeyShortYear {
		return keyExpr(c, quoted)
	}
	return quoted
}

// comparedExpr returns the expression to compare with keyLiteral's literal. A server compares a SET
// with a number as floating-point numbers, which are exact for up to 53 labels.
func comparedExpr(c *binlog.Column, quoted string) string {
	const exact = 53
	if c.Type == binlog.TypeSet && len(c.Values) > exact {
		return keyExpr(c, quoted) // the server cannot use an index for it
	}
	return orderedExpr(c, quoted)
}

// keyLiteral returns the literal that equals the value of a key column, which keyExpr selected as
// v. A literal never decides the collation of a comparison, so the column's collation, and its
// index, are used.
func keyLiteral(c *binlog.Column, v []byte) (string, error) {
	switch c.Key() {
	case binlog.KeyNumber, binlog.KeyOrdinal, binlog.KeyShortYear:
		return allowedLiteral(v, "", "-.")
	case binlog.KeyTemporal:
		return allowedLiteral(v, "'", "-.: ")
	case binlog.KeyAddress:
		return allowedLiteral(v, "'", "-.:abcdefABCDEF")
	case binlog.KeyText:
		const allowed = "abcdefghijklmnopqrstuvwxyz_"
		if _, err := allowedLiteral([]byte(c.Charset), "", allowed); err != nil {
			return "", fmt.Errorf("character set %q", c.Charset)
		}
		return "_" + c.Charset + " X'" + hex.EncodeToString(v) + "'", nil
	case binlog.KeyBytes:
		return bytesLiteral(v), nil
	case binlog.KeyFloat:
		return floatLiteral(v)
	}
	return "", fmt.Errorf("a %s cannot be part of a key that is read in order", c.SQLType)
}

// floatLiteral returns the literal of a DOUBLE that has the text v. Without an exponent the server
// would take it for a DECIMAL, and compare differently.
func floatLiteral(v []byte) (string, error) {
	literal, err := allowedLiteral(v, "", "-.e+")
	if err == nil && !strings.Contains(literal, "e") {
		literal += "e0"
	}
	return literal, err
}

// bytesLiteral returns v as a literal that is compared byte by byte.
func bytesLiteral(v []byte) string { return "_binary X'" + hex.EncodeToString(v) + "'" }

// allowedLiteral returns v in quotes if it consists of digits and the other bytes.
func allowedLiteral(v []byte, quote, other string) (string, error) {
	if len(v) == 0 || len(v) > 100 {
		return "", fmt.Errorf("value %q is not one of the type", v)
	}
	for _, b := range v {
		if (b < '0' || b > '9') && strings.IndexByte(other, b) < 0 {
			return "", fmt.Errorf("value %q is not one of the type", v)
		}
	}
	return quote + string(v) + quote, nil
}

// keyAfter returns the condition for the rows after a key. MySQL uses no index for a comparison of
// tuples, so the condition compares columns. Its first term follows from the others and gives the
// range scan a start.
//
//	k1 >= 1 AND (k1 > 1 OR (k1 = 1 AND (k2 > 2 OR (k2 = 2 AND k3 > 3))))
func keyAfter(columns, literals []string) string { return keyBeyond(columns, literals, ">", ">") }

// keyUntil returns the condition for the rows up to and including a key.
func keyUntil(columns, literals []string) string { return keyBeyond(columns, literals, "<", "<=") }

// keyBeyond compares by the operator than, and the last column by the operator last.
func keyBeyond(columns, literals []string, than, last string) string {
	n := len(columns) - 1
	cond := columns[n] + " " + last + " " + literals[n]
	for i := n - 1; i >= 0; i-- {
		cond = columns[i] + " " + than + " " + literals[i] +
			" OR (" + columns[i] + " = " + literals[i] + " AND (" + cond + "))"
	}
	if n == 0 {
		return cond
	}
	return columns[0] + " " + than + "= " + literals[0] + " AND (" + cond + ")"
}

// selectChunk returns the query for a chunk: the table's columns, then the key columns that
// keyLiteral needs in another form. keyCells has the index of each key column among them. The caller
// may append a locking clause.
func selectChunk(ch ChunkRequest) (sql string, keyCells []int, err error) {
	t := ch.Table
	key := ch.key()
	if err := CheckKey(t, key); err != nil {
		return "", nil, err
	}
	if ch.Limit < 1 {
		return "", nil, fmt.Errorf("chunk limit %d: want 1 or more", ch.Limit)
	}
	ordered, compared := make([]string, len(key)), make([]string, len(key))
	exprs := make([]string, 0, len(t.Columns)+len(key))
	for i := range t.Columns {
		c := &t.Columns[i]
		exprs = append(exprs, binlog.SelectExpr(c, "r."+sqltext.QuoteName(c.Name)))
	}
	for i, k := range key {
		c := &t.Columns[k]
		column := "r." + sqltext.QuoteName(c.Name)
		cell := k
		if expr := keyExpr(c, column); expr != exprs[k] {
			cell, exprs = len(exprs), append(exprs, expr)
		}
		keyCells = append(keyCells, cell)
		ordered[i], compared[i] = orderedExpr(c, column), comparedExpr(c, column)
		if len(t.Key()) == 0 {
			// Without a key, texts may differ that are equal in the collation.
			ordered[i] = keyExpr(c, column)
			compared[i] = ordered[i]
		}
	}
	var conds []string
	for _, bound := range []struct {
		key  [][]byte
		cond func(columns, literals []string) string
	}{{ch.After, keyAfter}, {ch.Until, keyUntil}} {
		if bound.key == nil {
			continue
		}
		literals, err := ch.literals(bound.key)
		if err != nil {
			return "", nil, err
		}
		conds = append(conds, bound.cond(compared[:len(literals)], literals))
	}
	sql = "SELECT " + strings.Join(exprs, ", ") +
		" FROM " + sqltext.QuoteTable(t.Database, t.Name) + " AS r"
	if len(t.Primary) > 0 {
		// An optimizer with old statistics may sort the whole table otherwise.
		sql += " FORCE INDEX (PRIMARY)"
	}
	if len(conds) > 0 {
		sql += " WHERE " + strings.Join(conds, " AND ")
	}
	sql += " ORDER BY " + strings.Join(ordered, ", ")
	return sql + fmt.Sprintf(" LIMIT %d", ch.Limit), keyCells, nil
}

// maxSortedLength is the length in characters up to which a server without an index sorts by whole
// texts: it ignores what exceeds the 1024 bytes of max_sort_length, and a character has up to four.
const maxSortedLength = 255

// CheckKey returns an error if the rows of a table cannot be read in the order of the key columns,
// so that a load is rejected at the start if it could not be resumed after its first chunk.
func CheckKey(t *binlog.Table, key []int) error {
	if len(key) == 0 {
		return fmt.Errorf("table %s has no key to read it by: give it a primary key, "+
			"or exclude it from the mapping", t.FullName())
	}
	for _, k := range key {
		c := &t.Columns[k]
		var err error
		switch c.Key() {
		case binlog.KeyNone:
			_, err = keyLiteral(c, nil)
		default:
			switch loose := len(t.Key()) == 0; {
			case c.Nullable:
				err = errors.New("it may be NULL, and rows are read in the order of their key: " +
					"declare it NOT NULL, or exclude the table from the mapping")
			case loose && (c.Type == binlog.TypeText || c.Type == binlog.TypeBlob ||
				c.Length > maxSortedLength):
				err = fmt.Errorf("a %s without a key is too long to be sorted by exactly: "+
					"give the table a key, or exclude it from the mapping", c.SQLType)
			}
		}
		if err != nil {
			return fmt.Errorf("key column %s.%s: %w", t.FullName(), c.Name, err)
		}
	}
	return nil
}

// literals returns the literals of a key, or of the first columns of one. Texts of a table without
// a key are compared by their bytes.
func (ch *ChunkRequest) literals(key [][]byte) ([]string, error) {
	t, columns := ch.Table, ch.key()
	if len(key) == 0 || len(key) > len(columns) {
		return nil, fmt.Errorf("key of %d columns for table %s, whose key has %d",
			len(key), t.FullName(), len(columns))
	}
	literals := make([]string, len(key))
	for i, k := range columns[:len(key)] {
		c := &t.Columns[k]
		if len(t.Key()) == 0 && c.Key() == binlog.KeyText {
			literals[i] = bytesLiteral(key[i])
			continue
		}
		var err error
		if literals[i], err = keyLiteral(c, key[i]); err != nil {
			return nil, fmt.Errorf("key column %s.%s: %w", t.FullName(), c.Name, err)
		}
	}
	return literals, nil
}
