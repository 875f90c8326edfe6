package ddl

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"rowfall/binlog/sqltext"
)

// ReadDump returns the schemas of the tables that a file of SQL statements creates, such as the
// output of mysqldump --no-data --databases. USE and DELIMITER are understood as the mysql client
// does. databases are the default character sets of databases that the file does not create. Only
// tables that match are returned; a statement about one of them that is not understood is an error.
func ReadDump(
	text string, o Options, databases map[string]Charset, match func(TableName) bool,
) ([]*Schema, error) {
	d := dump{tables: make(map[TableName]*Schema), databases: make(map[string]Charset)}
	for name, cs := range databases {
		d.databases[name] = cs
	}
	for s, o := range dumpStatements(text, o) {
		if err := d.execute(s.sql, o, match); err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	var all []*Schema
	for _, name := range d.order {
		if t := d.tables[name]; t != nil && match(name) {
			all = append(all, t)
			delete(d.tables, name)
		}
	}
	return all, nil
}

// DumpStatements iterates over the statements of a file that ReadDump can read, with their texts.
func DumpStatements(text string, o Options) iter.Seq2[*Statement, string] {
	return func(yield func(*Statement, string) bool) {
		for s, o := range dumpStatements(text, o) {
			if !yield(Parse(s.sql, o), s.sql) {
				return
			}
		}
	}
}

// dumpStatements iterates over the statements of a file, with the options that USE has changed.
func dumpStatements(text string, o Options) iter.Seq2[dumpStatement, Options] {
	return func(yield func(dumpStatement, Options) bool) {
		for s := range splitDump(text, o.Dialect()) {
			words := sqltext.Split(s.sql)
			if len(words) > 1 && words[0].Is("USE") {
				o.Database = words[1].Text
				continue
			}
			if !yield(s, o) {
				return
			}
		}
	}
}

// dump is the Catalog of what a file's statements have created so far.
type dump struct {
	tables    map[TableName]*Schema
	order     []TableName
	databases map[string]Charset
}

// Table implements Catalog.
func (d *dump) Table(name TableName) *Schema { return d.tables[name] }

// Tables implements Catalog.
func (d *dump) Tables(database string) (names []TableName) {
	for _, name := range d.order {
		if name.Database == database && d.tables[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// Database implements Catalog.
func (d *dump) Database(name string) (Charset, bool) {
	cs, ok := d.databases[name]
	return cs, ok
}

// execute applies one statement.
func (d *dump) execute(sql string, o Options, match func(TableName) bool) error {
	s := Parse(sql, o)
	if s.Action == CreateDatabase || s.Action == AlterDatabase {
		if cs, err := s.DatabaseCharset(d.databases[s.Database]); err == nil {
			d.databases[s.Database] = cs
		}
		return nil
	}
	effects, err := s.Apply(d)
	if err != nil {
		isMatched := s.Action == Unknown && s.Mentions(match)
		for _, name := range s.Tables {
			isMatched = isMatched || match(name)
		}
		if isMatched {
			return err
		}
		return nil
	}
	for _, e := range effects {
		if e.Table.Database == "" {
			return fmt.Errorf("table %s has no database: write USE before it, "+
				"as mysqldump --databases does", e.Table.Table)
		}
		if d.tables[e.Table] == nil && e.Schema != nil {
			d.order = append(d.order, e.Table)
		}
		d.tables[e.Table] = e.Schema
	}
	return nil
}

// dumpStatement is a statement of a file, without its delimiter.
type dumpStatement struct {
	sql  string
	line int
}

// splitDump iterates over the statements of a file.
func splitDump(text string, dialect sqltext.Dialect) func(func(dumpStatement) bool) {
	return func(yield func(dumpStatement) bool) {
		delimiter := []byte(";")
		rest, line, offset := []byte(text), 1, 0
		for {
			// Blank lines and comments before the statement belong to it.
			scanner := dialect.NewScanner(rest)
			length, end, isFirst := len(rest), len(rest), true
			for t, ok := scanner.Next(); ok; t, ok = scanner.Next() {
				if isFirst && !t.Quoted && bytes.EqualFold(t.Text, []byte("DELIMITER")) {
					value, after, _ := bytes.Cut(scanner.Rest(), []byte("\n"))
					if f := bytes.Fields(value); len(f) > 0 {
						delimiter = f[0]
					}
					scanner = dialect.NewScanner(after)
					rest, length, end = after, len(after), len(after)
					continue
				}
				at := len(rest) - len(scanner.Rest()) - len(t.Text)
				if isFirst {
					line += strings.Count(text[offset:len(text)-len(rest)+at], "\n")
					offset = len(text) - len(rest) + at
				}
				isFirst = false
				if !t.Quoted && bytes.HasPrefix(rest[at:], delimiter) {
					length, end = at, at+len(delimiter)
					break
				}
			}
			if isFirst {
				return // only blanks are left
			}
			if length > 0 && !yield(dumpStatement{string(rest[:length]), line}) {
				return
			}
			rest = rest[end:]
			if len(rest) == 0 {
				return
			}
		}
	}
}
