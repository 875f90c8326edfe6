package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform/suggest"
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

// helperTables are the names that gh-ost, pt-online-schema-change and Vitess give to the tables of
// a schema change. Those come and go, and hold copies of rows.
var helperTables = []string{"_*_gho", "_*_ghc", "_*_del", "_*_new", "_*_old", "_vt_*"}

// helperPattern returns the pattern of helperTables that a name fits, or "".
func helperPattern(table string) string {
	for i, p := range helperNames {
		if p.Matches(table) {
			return helperTables[i]
		}
	}
	return ""
}

var helperNames = func() []binlog.NamePattern {
	names := make([]binlog.NamePattern, len(helperTables))
	for i, text := range helperTables {
		p, _ := binlog.ParseTablePattern("*." + text)
		names[i] = p.Table
	}
	return names
}()

// tables returns the rule's pattern. A text that Validate rejects names no table.
func (r *TableRule) tables() binlog.TablePattern {
	p, _ := binlog.ParseTablePattern(r.Pattern)
	return p
}

func (r *TableRule) matches(database, table string) bool {
	p := r.tables()
	if p.Table.IsWildcard() && helperPattern(table) != "" {
		return false
	}
	return p.Matches(database, table)
}

// covers reports whether every table that o matches is matched by r too.
func (r *TableRule) covers(o *TableRule) bool { return r.tables().Covers(o.tables()) }

// Rule merges the entries that match a table; nil means it is not mapped. It
// fails with a *MappingError where two entries match that are equally specific.
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
			return nil, &MappingError{Path: best.Path, Line: best.Line, Message: fmt.Sprintf(
				"%s.%s matches %q and %q (line %d) and neither is more specific; add an entry %q that says what holds for it",
				database, table, best.Pattern, r.Pattern, r.Line, binlog.PatternOf(database, table))}
		}
	}
	out := &Rule{TableRule: *best, Wildcard: best.tables().IsWildcard(), own: len(best.Columns.Exclude)}
	out.Columns.Exclude = slices.Clone(best.Columns.Exclude)
	for _, r := range found {
		if r != best {
			out.Columns.Exclude = append(out.Columns.Exclude, r.Columns.Exclude...)
		}
	}
	return out, nil
}

// SkipReason returns why wildcards leave out a table that they would name otherwise, or "". It is
// one of the helper tables of a schema change, and no entry of its own maps or ignores it.
func (m *Mapping) SkipReason(database, table string) string {
	helper := helperPattern(table)
	if helper == "" || slices.Contains(systemSchemas, strings.ToLower(database)) {
		return ""
	}
	named := false
	for i := range m.Tables {
		r := &m.Tables[i]
		p := r.tables()
		switch {
		case !p.Matches(database, table):
		case r.Ignore, !p.Table.IsWildcard():
			return ""
		default:
			named = true
		}
	}
	if !named {
		return ""
	}
	return fmt.Sprintf("its name fits %s, as the helper tables of schema changes do, "+
		"and wildcards pass over those; to map it, give it an entry of its own", helper)
}

// UnknownNames reports what is most likely misspelt: entries for one table that the
// server does not have, which somebody may create yet, and columns named by a
// pattern that no table it matches has. (A column that an entry for one table
// names must exist: Compile sees to it.) Of the tables, all that the server has,
// it looks at the names.
func (m *Mapping) UnknownNames(tables []*binlog.Table) (missing, columns []*MappingError) {
	for i := range m.Tables {
		r := &m.Tables[i]
		p := r.tables()
		switch {
		case p.IsWildcard():
			columns = append(columns, r.unused(tables)...)
		case !slices.ContainsFunc(tables, func(t *binlog.Table) bool {
			return p.Matches(t.Database, t.Name)
		}):
			missing = append(missing, &MappingError{Path: r.Path, Line: r.Line, Message: fmt.Sprintf(
				"the server has no table %s%s", r.Pattern, r.meant(tables))})
		}
	}
	return missing, columns
}

// meant is the end of a message about an entry whose table does not exist: the pattern of the table
// that was most likely meant, spelled so that it names that table.
func (r *TableRule) meant(tables []*binlog.Table) string {
	patterns := make([]string, len(tables))
	for i, t := range tables {
		patterns[i] = binlog.PatternOf(t.Database, t.Name).String()
		if t.FullName() == r.Pattern { // only the dots are divided otherwise
			return fmt.Sprintf("; did you mean %q?", patterns[i])
		}
	}
	return suggest.DidYouMean(r.Pattern, patterns)
}

// unused reports the columns of a pattern that no table has; a pattern without
// tables has nothing to compare with.
func (r *TableRule) unused(tables []*binlog.Table) []*MappingError {
	known, matched := map[string]bool{}, false
	var names []string
	for _, t := range tables {
		if !r.matches(t.Database, t.Name) {
			continue
		}
		matched = true
		for _, name := range t.ColumnNames() {
			if !known[binlog.FoldName(name)] {
				known[binlog.FoldName(name)] = true
				names = append(names, name)
			}
		}
	}
	if !matched {
		return nil
	}
	var out []*MappingError
	check := func(part string, columns []string) {
		for _, name := range columns {
			if !known[binlog.FoldName(name)] {
				out = append(out, &MappingError{Path: r.Path + "." + part, Line: r.line(part), Message: fmt.Sprintf(
					"no table that matches %q has a column %q%s", r.Pattern, name, suggest.DidYouMean(name, names))})
			}
		}
	}
	check("columns.exclude", r.Columns.Exclude)
	check("columns.include", r.Columns.Include)
	check("columns.rename", slices.Sorted(maps.Keys(r.Columns.Rename)))
	return out
}
