package dml

import (
	"errors"
	"fmt"

	"rowfall/binlog"
)

// frame is the state of a bodyReader within a pair of parentheses.
type frame struct {
	// inFrom is set in a list of tables: after a comma another table follows. wantsTable is set
	// where the next token begins a table.
	inFrom, wantsTable bool
	// isCall is set in the arguments of a function, where FROM is a separator: TRIM(a FROM b).
	isCall bool
	// isOuter is set if tables of this frame are those of the statement itself.
	isOuter bool
}

// bodyReader reads a part of a statement: it finds the tables, and calls of functions.
type bodyReader struct {
	*parser
	frames       []frame
	before, last token // the two tokens before the current one
}

// top is the frame of the innermost parentheses.
func (b *bodyReader) top() *frame { return &b.frames[len(b.frames)-1] }

// body reads up to a keyword at the depth where it begins, or up to the end of the statement if
// until is empty. If until is ")", it reads a group in parentheses. isTables is set if the list of
// the statement's own tables is next.
func (p *parser) body(isTables bool, until string) error {
	b := bodyReader{parser: p}
	b.frames = []frame{{inFrom: isTables, wantsTable: isTables, isOuter: isTables}}
	for {
		if b.top().wantsTable && !b.peek().is("(", ")") {
			if err := b.table(); err != nil {
				return err
			}
			continue
		}
		t := b.next()
		if len(b.frames) == 1 && until != ")" && t.is(until) {
			return nil
		}
		if t.kind == end {
			if until != "" || len(b.frames) > 1 {
				return errUnclosed
			}
			return nil
		}
		if t.is(";") {
			if b.peek().kind != end {
				return errors.New("it is more than one statement")
			}
			continue
		}
		if err := b.token(t); err != nil {
			return err
		}
		if len(b.frames) == 0 {
			return errUnclosed
		}
		if until == ")" && t.is(")") && len(b.frames) == 1 {
			return nil
		}
	}
}

// token handles a token that does not begin a table.
func (b *bodyReader) token(t token) error {
	f := b.top()
	switch {
	case t.is("("):
		return b.open(t)
	case t.is(")"):
		b.frames = b.frames[:len(b.frames)-1]
		if len(b.frames) > 0 {
			b.top().wantsTable = false
		}
	case t.is("{"):
		return errors.New("{ is not understood")
	case f.isCall && !t.is("SELECT"):
	case b.last.is("@", "."): // @from, a.from
	case t.is("FROM"):
		f.inFrom, f.wantsTable = true, true
	case t.is("JOIN", "STRAIGHT_JOIN") && (!t.is("JOIN") || !b.last.is("FOR")):
		f.wantsTable = f.inFrom
	case t.is("TABLE") && !b.last.is("INTO"):
		f.wantsTable = true
	case t.is(",") && f.inFrom:
		f.wantsTable = true
	case t.is("USING") && f.inFrom && !b.peek().is("("):
		return errors.New("USING is not understood")
	case t.is("SELECT"):
		*f = frame{}
	case t.is("WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION", "EXCEPT",
		"INTERSECT", "SET", "UPDATE", "VALUES", "RETURNING", "PROCEDURE"):
		f.inFrom = false
	case t.is("WITH") && !b.last.is("GROUP") && b.beginsQuery():
		return b.expressionsOf()
	}
	b.before, b.last = b.last, t
	return nil
}

// beginsQuery reports whether a WITH here may begin common table expressions, and is not WITH
// ROLLUP or WITH TIME ZONE.
func (b *bodyReader) beginsQuery() bool { return !b.peek().is("ROLLUP", "TIME", "TIES") }

// expressionsOf reads the common table expressions of a query.
func (b *bodyReader) expressionsOf() error {
	next, err := b.with()
	if err != nil {
		return err
	}
	b.before = token{}
	b.last = token{}
	return b.token(next)
}

// open handles an opening parenthesis.
func (b *bodyReader) open(t token) error {
	f := b.top()
	next := frame{}
	switch {
	case f.wantsTable: // (a JOIN b), or a subquery
		next = frame{inFrom: true, wantsTable: true, isOuter: f.isOuter}
		if b.peek().is("SELECT", "WITH", "VALUES") {
			next = frame{}
		}
	case b.last.isName():
		if mayCallStored(b.dialect, b.before, b.last, t) {
			return fmt.Errorf("%q may be a stored function, which can change other tables",
				binlog.Clip(b.last.name(), maxQuoted))
		}
		next.isCall = !notFunctions[b.last.text] && b.last.text != "COLUMNS"
	}
	b.frames = append(b.frames, next)
	b.before, b.last = b.last, t
	return nil
}

// table reads a table and its alias.
func (b *bodyReader) table() error {
	f := b.top()
	f.wantsTable = false
	if b.accept("LATERAL") {
		f.wantsTable = true
		return nil
	}
	first := b.peek()
	if first.is("DUAL") {
		b.last = b.next()
		return nil
	}
	if first.is("SELECT", "WITH", "VALUES") {
		return nil // the tables of this query follow its own FROM
	}
	after := b.scanner
	after.next()
	if first.is("JSON_TABLE") && after.peek().is("(") {
		b.next()
		b.before, b.last = jsonTable, first
		return nil
	}
	n, err := b.tableName()
	if err != nil {
		return err
	}
	s := source{name: n, isOuter: f.isOuter}
	for b.accept("PARTITION") {
		if !b.skipGroup() {
			return errUnclosed
		}
	}
	isAliased := b.accept("AS")
	if t := b.peek(); t.kind == quoted || t.kind == word && (isAliased || !isAfterTable[t.text]) {
		s.alias = b.next().name()
	}
	if b.peek().is("(") {
		return errors.New("a table function, or the columns of an alias, are not understood")
	}
	isExpression := false
	for _, e := range b.expressions {
		isExpression = isExpression || first.name() == e && n == b.options.TableName("", e)
	}
	if !isExpression {
		b.sources = append(b.sources, s)
	}
	b.before, b.last = token{}, token{}
	return nil
}

// isAfterTable has the keywords that can follow a table and cannot be its alias.
var isAfterTable = words(`
	CROSS EXCEPT FETCH FOR FORCE FROM FULL GROUP HAVING IGNORE INNER INTERSECT INTO JOIN LEFT LIMIT
	LOCK MINUS NATURAL OFFSET ON ORDER PARTITION PROCEDURE RETURNING RIGHT SET STRAIGHT_JOIN
	TABLESAMPLE UNION USE USING VALUES WHERE WINDOW`)
