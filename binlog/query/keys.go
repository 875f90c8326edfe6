package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// KeysRequest describes a page of the keys of the rows that match a condition, in key order.
type KeysRequest struct {
	Table *binlog.Table
	// Key is as in ChunkRequest.
	Key []int
	// Condition is an SQL expression over the table's columns, which CheckCondition accepts.
	Condition string
	// After is KeysResult.Last of the page before; nil reads from the start.
	After [][]byte
	// Limit is the largest number of keys to read, 1 or more.
	Limit int
	// Silence is as in ChunkRequest.
	Silence time.Duration
}

// KeysResult describes a page that was read.
type KeysResult struct {
	// Last is the last key, as opaque bytes for KeysRequest.After. Done is set if no page follows.
	Last [][]byte
	Done bool
}

// ReadKeys reads one page. It calls key for each row, with the texts of the columns of
// KeysRequest.Key as Row.AppendText returns them, which are valid during the call. There is no
// fence: the condition is evaluated as of some moment of the call.
func ReadKeys(
	ctx context.Context, c *mysql.Conn, r KeysRequest, key func(texts [][]byte) error,
) (result KeysResult, err error) {
	sql, err := selectKeys(r)
	if err != nil {
		return result, fmt.Errorf("read keys: %w", err)
	}
	// A stored function that the condition calls must not write.
	if err := c.Exec(ctx, "SET TRANSACTION READ ONLY"); err != nil {
		return result, fmt.Errorf("read keys: %w", err)
	}
	if r.Silence > 0 {
		defer c.SetSilence(r.Silence)()
	}
	columns := r.columns()
	var row binlog.Row
	layout := binlog.NewTextLayout(r.Table)
	cells := make([][]byte, len(r.Table.Columns))
	texts, last := make([][]byte, len(columns)), make([][]byte, len(columns))
	rows := 0
	var keyErr error
	err = c.Stream(ctx, sql, func(values [][]byte) error {
		for i, k := range columns {
			cells[k] = values[i]
			last[i] = append(last[i][:0], values[len(columns)+i]...)
		}
		row.SetText(layout, cells)
		for i, k := range columns {
			if texts[i], keyErr = row.AppendText(texts[i][:0], k); keyErr != nil {
				return keyErr
			}
		}
		rows++
		keyErr = key(texts)
		return keyErr
	})
	if keyErr != nil {
		return result, keyErr
	}
	if err != nil {
		return result, fmt.Errorf("read keys of %s: %w", r.Table.FullName(), err)
	}
	result = KeysResult{Last: last, Done: rows < r.Limit}
	if rows == 0 {
		result.Last = r.After
	}
	return result, nil
}

func (r *KeysRequest) columns() []int {
	if key := r.Table.Key(); len(key) > 0 {
		return key
	}
	return r.Key
}

// TryCondition returns the server's error if the server cannot evaluate the condition, for example
// because the table lacks a column that the condition names. It reads no rows.
func TryCondition(ctx context.Context, c *mysql.Conn, t *binlog.Table, condition string) error {
	if err := CheckCondition(condition); err != nil {
		return err
	}
	if err := c.Exec(ctx, "SET TRANSACTION READ ONLY"); err != nil {
		return err
	}
	_, err := c.Query(ctx, "SELECT 1 FROM "+sqltext.QuoteTable(t.Database, t.Name)+
		" WHERE ("+condition+"\n) LIMIT 0")
	return err
}

// CheckCondition returns an error if the condition, put in parentheses, could be more than one
// expression: if it closes the parentheses, or contains a second statement or a comment that
// servers execute.
func CheckCondition(condition string) error {
	text := []byte(condition)
	for _, mark := range []string{"/*!", "/*M!"} {
		if bytes.Contains(text, []byte(mark)) {
			return fmt.Errorf("the condition contains %s, a comment that servers execute; "+
				"remove it", mark)
		}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return errors.New("the condition contains a NUL byte; remove it")
	}
	scanner := sqltext.NewScanner(text)
	depth, words := 0, 0
	for {
		token, ok := scanner.Next()
		if !ok {
			break
		}
		words++
		if token.Quoted {
			continue
		}
		switch token.Text[0] {
		case '(':
			depth++
		case ')':
			depth--
		case ';':
			return errors.New("the condition contains a semicolon; give one expression only")
		}
		if depth < 0 {
			break
		}
	}
	switch {
	case scanner.Unterminated():
		return errors.New("the condition has a quote or a comment without its end")
	case depth != 0:
		return errors.New("the parentheses of the condition do not match")
	case words == 0:
		return errors.New("the condition is empty")
	}
	return nil
}

// selectKeys returns the query for a page: the texts of the key's columns, then the same columns in
// the form of ChunkResult.Last.
func selectKeys(r KeysRequest) (string, error) {
	t, key := r.Table, r.columns()
	if err := CheckKey(t, key); err != nil {
		return "", err
	}
	if err := CheckCondition(r.Condition); err != nil {
		return "", err
	}
	chunk := ChunkRequest{Table: t, Key: key, After: r.After}
	var texts, opaque, ordered, compared []string
	for _, k := range key {
		c := &t.Columns[k]
		column := sqltext.QuoteName(t.Name) + "." + sqltext.QuoteName(c.Name)
		texts = append(texts, binlog.SelectExpr(c, column))
		opaque = append(opaque, keyExpr(c, column))
		if len(t.Key()) == 0 { // as in selectChunk
			column = keyExpr(c, column)
			ordered, compared = append(ordered, column), append(compared, column)
			continue
		}
		ordered = append(ordered, orderedExpr(c, column))
		compared = append(compared, comparedExpr(c, column))
	}
	sql := "SELECT " + strings.Join(append(texts, opaque...), ", ") +
		" FROM " + sqltext.QuoteTable(t.Database, t.Name)
	if len(t.Primary) > 0 {
		sql += " FORCE INDEX (PRIMARY)" // all pages together read the table once
	}
	// The line end ends a comment of the condition.
	sql += " WHERE (" + r.Condition + "\n)"
	if r.After != nil {
		literals, err := chunk.literals(r.After)
		if err != nil {
			return "", err
		}
		sql += " AND (" + keyAfter(compared, literals) + ")"
	}
	sql += " ORDER BY " + strings.Join(ordered, ", ")
	return sql + fmt.Sprintf(" LIMIT %d", r.Limit), nil
}
