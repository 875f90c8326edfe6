package dml

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// Statement lists the tables of a statement. Any of them may be a view.
type Statement struct {
	// Written are the tables that the statement may change. Read are the other tables that it
	// names.
	Written, Read []ddl.TableName
}

const (
	// maxParsed is the length in bytes of the longest statement that is read.
	maxParsed = 64 << 20
	// maxQuoted is the length in bytes of a name in an error.
	maxQuoted = 60
)

// Parse finds the tables of a statement. The error is the reason why they are not known.
func Parse(sql string, o ddl.Options) (*Statement, error) {
	if len(sql) > maxParsed {
		return nil, fmt.Errorf("it is longer than %d bytes", maxParsed)
	}
	d := o.Dialect()
	p := parser{scanner: scanner{s: d.NewScanner([]byte(sql)), dialect: d}, options: &o}
	if err := p.statement(); err != nil {
		return nil, err
	}
	if p.s.Unterminated() {
		return nil, errors.New("a quote or comment has no end")
	}
	return p.result()
}

// ParseSelect finds the tables that the SELECT of a CREATE TABLE ... SELECT reads. The error says
// why they are not known, or why it may change other tables.
func ParseSelect(sql string, o ddl.Options) (read []ddl.TableName, err error) {
	if len(sql) > maxParsed {
		return nil, fmt.Errorf("it is longer than %d bytes", maxParsed)
	}
	d := o.Dialect()
	p := parser{scanner: scanner{s: d.NewScanner([]byte(sql)), dialect: d}, options: &o}
	// The query begins at its first keyword, or at the parentheses before that.
	begin, isOpen := p.scanner, false
	for {
		before := p.scanner
		t := p.next()
		if t.kind == end {
			return nil, errors.New("its SELECT is not found")
		}
		if !t.is("(") {
			isOpen = false
		} else if !isOpen {
			begin, isOpen = before, true
		}
		next := p.peek()
		if next.is("SELECT") || next.is("WITH") && !p.isOption() ||
			next.is("VALUES") && !p.isOption() ||
			next.is("TABLE") && !t.is("CREATE", "REPLACE", "TEMPORARY") {
			if !isOpen {
				begin = p.scanner
			}
			break
		}
	}
	p.scanner = begin
	if err := p.body(false, ""); err != nil {
		return nil, err
	}
	if p.s.Unterminated() {
		return nil, errors.New("a quote or comment has no end")
	}
	for i := range p.sources {
		read = append(read, p.sources[i].name)
	}
	return read, nil
}

// isOption reports whether the WITH or VALUES that is next belongs to the definition of the table:
// WITH SYSTEM VERSIONING, WITH PARSER, VALUES LESS THAN, VALUES IN.
func (p *parser) isOption() bool {
	after := p.scanner
	after.next()
	return after.accept("SYSTEM", "PARSER", "LESS", "IN")
}

// source is a table that the statement names: in FROM, JOIN, UPDATE, or as a target.
type source struct {
	name  ddl.TableName
	alias string // empty without one
	// isOuter is set if the table is one of the statement itself, and not of a subquery.
	isOuter bool
}

// parser reads one statement.
type parser struct {
	scanner
	options *ddl.Options
	sources []source
	// targets are the tables to change: by name (INSERT, LOAD DATA), or by a name or alias of
	// sources (UPDATE, DELETE). allOuter is set if any of the outer sources may be a target.
	targets  []target
	allOuter bool
	// expressions are the names of common table expressions.
	expressions []string
}

// target is a table to change. It is the table itself if isTable is set, else a name or alias of a
// source, with or without the database.
type target struct {
	database, name string
	isTable        bool
}

// statement reads the statement.
func (p *parser) statement() error {
	first := p.next()
	for first.is("(", ";") {
		first = p.next()
	}
	switch {
	case first.is("ANALYZE"): // MariaDB: ANALYZE [FORMAT=JSON] statement
		if p.accept("FORMAT") {
			p.next()
			p.next()
		}
		first = p.next()
	case first.is("WITH"):
		var err error
		if first, err = p.with(); err != nil {
			return err
		}
	}
	switch {
	case first.is("INSERT", "REPLACE"):
		return p.insert()
	case first.is("UPDATE"):
		return p.update()
	case first.is("DELETE"):
		return p.delete()
	case first.is("LOAD"):
		return p.load()
	case first.kind == word:
		return fmt.Errorf("a statement %s does not name the tables that it changes", first.text)
	}
	return errors.New("the statement is not understood")
}

// with reads WITH name [(columns)] AS (query), ..., and returns the keyword after that.
func (p *parser) with() (token, error) {
	p.accept("RECURSIVE")
	for {
		name := p.next()
		if !name.isName() || !p.skipGroup() || !p.accept("AS") || !p.peek().is("(") {
			return token{}, errors.New("WITH is not understood")
		}
		p.expressions = append(p.expressions, name.name())
		if err := p.body(false, ")"); err != nil {
			return token{}, err
		}
		if !p.accept(",") {
			return p.next(), nil
		}
	}
}

// tableName reads the name of a table.
func (p *parser) tableName() (name ddl.TableName, err error) {
	first := p.next()
	if !first.isName() {
		return name, errors.New("the name of a table is not understood")
	}
	if !p.accept(".") {
		return p.named("", first.name())
	}
	second := p.next()
	if !second.isName() {
		return name, errors.New("the name of a table is not understood")
	}
	return p.named(first.name(), second.name())
}

func (p *parser) named(database, table string) (ddl.TableName, error) {
	n := p.options.TableName(database, table)
	if n.Database == "" {
		return n, fmt.Errorf("table %s has no database", table)
	}
	return n, nil
}

// insert reads what follows INSERT or REPLACE.
func (p *parser) insert() error {
	for p.accept("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE") {
		continue
	}
	p.accept("INTO")
	return p.intoTable()
}

// intoTable reads the table that gets rows, and the rest of the statement.
func (p *parser) intoTable() error {
	n, err := p.tableName()
	if err != nil {
		return err
	}
	p.targets = append(p.targets, target{n.Database, n.Table, true})
	if p.accept("PARTITION") && !p.skipGroup() {
		return errUnclosed
	}
	// A list of columns follows, or a query in parentheses.
	after := p.scanner
	if after.accept("(") && !after.peek().is("SELECT", "WITH", "VALUES", "TABLE", "(") &&
		!p.skipGroup() {
		return errUnclosed
	}
	return p.body(false, "")
}

var errUnclosed = errors.New("a parenthesis is not closed")

// load reads what follows LOAD.
func (p *parser) load() error {
	if !p.accept("DATA", "XML") {
		return errors.New("a statement LOAD is not understood")
	}
	for !p.accept("INTO") {
		if p.next().kind == end {
			return errors.New("the table of LOAD DATA is not understood")
		}
	}
	if !p.accept("TABLE") {
		return errors.New("the table of LOAD DATA is not understood")
	}
	return p.intoTable()
}

// update reads what follows UPDATE.
func (p *parser) update() error {
	for p.accept("LOW_PRIORITY", "IGNORE") {
		continue
	}
	if err := p.body(true, "SET"); err != nil {
		return err
	}
	p.assignments(p.scanner)
	return p.body(false, "")
}

// assignments finds out which tables SET changes: those that qualify the columns. If a column is
// not qualified, each table of the UPDATE may be meant.
func (p *parser) assignments(s scanner) {
	for depth, isColumn := 0, true; ; {
		t := s.next()
		switch {
		case t.kind == end || depth == 0 && t.is("WHERE", "ORDER", "LIMIT", "RETURNING"):
			return
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && isColumn:
			names := []string{t.name()}
			for s.accept(".") {
				names = append(names, s.next().name())
			}
			switch n := len(names); n {
			case 1:
				p.allOuter = true
			case 2:
				p.targets = append(p.targets, target{name: names[0]})
			default:
				p.targets = append(p.targets, target{database: names[0], name: names[1]})
			}
		}
		isColumn = depth == 0 && t.is(",")
	}
}

// delete reads what follows DELETE.
func (p *parser) delete() error {
	for p.accept("LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY") {
		continue
	}
	if !p.accept("FROM") { // DELETE a, b FROM tables
		if err := p.deleteTargets(); err != nil {
			return err
		}
		if !p.accept("FROM") {
			return errors.New("the tables of DELETE are not understood")
		}
		return p.body(true, "")
	}
	after := p.scanner
	if err := p.deleteTargets(); err == nil && p.accept("USING") { // DELETE FROM a, b USING tables
		return p.body(true, "")
	}
	p.scanner, p.targets, p.allOuter = after, nil, true
	return p.body(true, "")
}

// deleteTargets reads names of tables or aliases, as in a, b.*, c.d.*.
func (p *parser) deleteTargets() error {
	for {
		names := []string{}
		for {
			t := p.next()
			if t.is("*") && len(names) > 0 {
				break
			}
			if !t.isName() {
				return errors.New("the tables of DELETE are not understood")
			}
			if names = append(names, t.name()); !p.accept(".") {
				break
			}
		}
		t := target{name: names[len(names)-1]}
		if len(names) > 1 {
			t.database = names[0]
		}
		if p.targets = append(p.targets, t); !p.accept(",") {
			return nil
		}
	}
}

// result resolves the targets.
func (p *parser) result() (*Statement, error) {
	var s Statement
	add := func(list *[]ddl.TableName, n ddl.TableName) {
		if !slices.Contains(*list, n) {
			*list = append(*list, n)
		}
	}
	for _, t := range p.targets {
		n, err := p.resolve(t)
		if err != nil {
			return nil, err
		}
		add(&s.Written, n)
	}
	for i := range p.sources {
		if p.allOuter && p.sources[i].isOuter {
			add(&s.Written, p.sources[i].name)
		}
	}
	for i := range p.sources {
		if n := p.sources[i].name; !slices.Contains(s.Written, n) {
			add(&s.Read, n)
		}
	}
	if len(s.Written) == 0 {
		return nil, errors.New("the tables that it changes are not understood")
	}
	return &s, nil
}

// resolve returns the table of a target. It compares without case, because it depends on the server
// whether names differ in case only.
func (p *parser) resolve(t target) (ddl.TableName, error) {
	if t.isTable {
		return ddl.TableName{Database: t.database, Table: t.name}, nil
	}
	var found []ddl.TableName
	for i := range p.sources {
		s := &p.sources[i]
		if !s.isOuter {
			continue
		}
		name := s.alias
		if name == "" {
			name = s.name.Table
		}
		if strings.EqualFold(name, t.name) &&
			(t.database == "" || strings.EqualFold(s.name.Database, t.database)) &&
			!slices.Contains(found, s.name) {
			found = append(found, s.name)
		}
	}
	if len(found) != 1 {
		return ddl.TableName{}, fmt.Errorf("table or alias %q is not understood",
			binlog.Clip(t.name, maxQuoted))
	}
	return found[0], nil
}
