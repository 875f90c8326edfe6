package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform/expression"
)

// Rule is what holds for one table after all entries that match it are merged.
type Rule struct {
	// TableRule is the most specific entry; its Columns.Exclude holds the
	// exclusions of every entry that matches.
	TableRule
	// Wildcard is set where the most specific entry is a pattern.
	Wildcard bool

	// own counts the exclusions of the most specific entry: they come first,
	// and unlike those of other entries must name columns.
	own int
}

// systemSchemas are the servers' own; sys and performance_schema are no tables
// of anybody's.
var systemSchemas = []string{"mysql", "information_schema", "performance_schema", "sys"}

// helperTables are those of gh-ost, pt-online-schema-change and Vitess. They
// come and go during a schema change and hold copies of rows.
var helperTables = []string{"_*_gho", "_*_ghc", "_*_del", "_*_new", "_*_old", "_vt_*"}

func isHelper(table string) bool {
	return slices.ContainsFunc(helperTables, func(p string) bool { return glob(p, table) })
}

// splitPattern cuts a pattern into database and table.
func splitPattern(pattern string) (database, table string) {
	database, table, _ = strings.Cut(pattern, ".")
	return database, table
}

func isWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// glob matches text against a pattern of *, ? and literal bytes. It also tells
// whether a pattern covers another one, given as text: a * there is only met by
// a *, and a ? by a ? or *.
func glob(pattern, text string) bool {
	star, mark := -1, 0
	i := 0
	for j := 0; j < len(text); {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == text[j] || pattern[i] == '?' && text[j] != '*'):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

func (r *TableRule) matches(database, table string) bool {
	d, t := splitPattern(r.Pattern)
	if isWildcard(t) && isHelper(table) {
		return false
	}
	return glob(d, database) && glob(t, table)
}

// covers reports whether every table that o matches is matched by r too.
func (r *TableRule) covers(o *TableRule) bool {
	rd, rt := splitPattern(r.Pattern)
	od, ot := splitPattern(o.Pattern)
	return glob(rd, od) && glob(rt, ot)
}

// Validate checks what needs no table: the patterns. It returns an *Error.
func (m *Mapping) Validate() error {
	for i := range m.Tables {
		r := &m.Tables[i]
		d, t := splitPattern(r.Pattern)
		if d == "" || t == "" {
			return &Error{Path: r.Path, Line: r.Line, Message: fmt.Sprintf("the entry %q names no table; write database.table, where * stands for any name", r.Pattern)}
		}
		if slices.Contains(systemSchemas, strings.ToLower(d)) {
			return &Error{Path: r.Path, Line: r.Line, Message: fmt.Sprintf("%s is a schema of the server itself and is never mapped; remove the entry", d)}
		}
		for _, o := range m.Tables[:i] {
			if o.Pattern == r.Pattern {
				return &Error{Path: r.Path, Line: r.Line, Message: fmt.Sprintf("the entry %q stands twice (also at line %d); merge them", r.Pattern, o.Line)}
			}
		}
	}
	return nil
}

// Rule merges the entries that match a table; nil means it is not mapped. It
// fails with an *Error where two entries match that are equally specific.
//
// An entry is more specific than another when it matches fewer tables: every
// table of the one is a table of the other. Exclusions and ignore add up over
// all entries that match, everything else is the most specific entry's.
func (m *Mapping) Rule(database, table string) (*Rule, error) {
	if slices.Contains(systemSchemas, strings.ToLower(database)) {
		return nil, nil
	}
	var found []*TableRule
	for i := range m.Tables {
		if r := &m.Tables[i]; r.matches(database, table) {
			if r.Ignore {
				return nil, nil
			}
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	best := found[0]
	for _, r := range found[1:] {
		if best.covers(r) {
			best = r
		}
	}
	for _, r := range found {
		if r != best && (!r.covers(best) || best.covers(r)) {
			return nil, &Error{Path: best.Path, Line: best.Line, Message: fmt.Sprintf(
				"%s.%s matches %q and %q (line %d) and neither is more specific; add an entry %q that says what holds for it",
				database, table, best.Pattern, r.Pattern, r.Line, database+"."+table)}
		}
	}
	out := &Rule{TableRule: *best, Wildcard: isWildcard(best.Pattern), own: len(best.Columns.Exclude)}
	out.Columns.Exclude = slices.Clone(best.Columns.Exclude)
	for _, r := range found {
		if r != best {
			out.Columns.Exclude = append(out.Columns.Exclude, r.Columns.Exclude...)
		}
	}
	return out, nil
}

// Unused reports what is most likely misspelt: entries for one table that the
// server does not have, which somebody may create yet, and columns named by a
// pattern that no table it matches has. (A column that an entry for one table
// names must exist: Compile sees to it.) Of the tables, all that the server has,
// it looks at the names.
func (m *Mapping) Unused(tables []*binlog.Table) (missing, columns []*Error) {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.FullName()
	}
	for i := range m.Tables {
		r := &m.Tables[i]
		switch {
		case isWildcard(r.Pattern):
			columns = append(columns, r.unused(tables)...)
		case !slices.Contains(names, r.Pattern):
			missing = append(missing, &Error{Path: r.Path, Line: r.Line, Message: fmt.Sprintf(
				"the server has no table %s%s", r.Pattern, expression.Meant(r.Pattern, names...))})
		}
	}
	return missing, columns
}

// unused reports the columns of a pattern that no table has; a pattern without
// tables has nothing to compare with.
func (r *TableRule) unused(tables []*binlog.Table) []*Error {
	known, matched := map[string]bool{}, false
	var names []string
	for _, t := range tables {
		if !r.matches(t.Database, t.Name) {
			continue
		}
		matched = true
		for _, name := range expression.ColumnNames(t) {
			if !known[strings.ToLower(name)] {
				known[strings.ToLower(name)] = true
				names = append(names, name)
			}
		}
	}
	if !matched {
		return nil
	}
	var out []*Error
	check := func(part string, columns []string) {
		for _, name := range columns {
			if !known[strings.ToLower(name)] {
				out = append(out, &Error{Path: r.Path + "." + part, Line: r.line(part), Message: fmt.Sprintf(
					"no table that matches %q has a column %q%s", r.Pattern, name, expression.Meant(name, names...))})
			}
		}
	}
	check("columns.exclude", r.Columns.Exclude)
	check("columns.include", r.Columns.Include)
	check("columns.rename", slices.Sorted(maps.Keys(r.Columns.Rename)))
	return out
}
