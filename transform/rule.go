package transform

import (
	"fmt"
	"maps"
	"slices"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/suggest"
)

// Rule holds the settings of one table, merged from all entries that match the table.
type Rule struct {
	// TableRule is the most specific entry. Its Columns.Exclude holds the exclusions of every entry
	// that matches, those of the most specific entry first.
	TableRule
	// Wildcard is set if the pattern of the most specific entry contains * or ?.
	Wildcard bool

	// own is the number of exclusions that the most specific entry has itself. Those must name
	// columns of the table; the others need not.
	own int
	// masks are Columns.Mask of the other entries that match.
	masks []map[string]string
	salt  columns.Salt
}

// systemSchemas belong to the server and are never mapped.
var systemSchemas = []string{"mysql", "information_schema", "performance_schema", "sys"}

func isSystemSchema(database string) bool {
	return slices.Contains(systemSchemas, binlog.FoldName(database))
}

// helperTables are the names of the tables that gh-ost (_gho, _ghc, _del), pt-online-schema-change
// (_new, _old) and Vitess (_vt_) create during a schema change. They hold copies of rows, and are
// renamed or dropped afterwards.
var helperTables = []string{"_*_gho", "_*_ghc", "_*_del", "_*_new", "_*_old", "_vt_*"}

// helperPattern returns the pattern of helperTables that a table's name matches, or "".
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

// tables returns the parsed pattern. A pattern that Validate rejects matches no table.
func (r *TableRule) tables() binlog.TablePattern {
	p, _ := binlog.ParseTablePattern(r.Pattern)
	return p
}

// matches reports whether the entry names a table. A wildcard does not name a helper table.
func (r *TableRule) matches(database, table string) bool {
	p := r.tables()
	if p.Table.IsWildcard() && helperPattern(table) != "" {
		return false
	}
	return p.Matches(database, table)
}

// covers reports whether r matches every table that o matches.
func (r *TableRule) covers(o *TableRule) bool { return r.tables().Covers(o.tables()) }

// Rule merges the entries that match a table. It returns nil, nil if the table is not mapped: no
// entry matches, an entry that matches ignores it, or it belongs to a system schema. It returns a
// *MappingError if no entry that matches is the most specific one.
//
// An entry is more specific than another if it matches only a part of the other's tables.
// Exclusions and masks are merged over all entries that match; of several masks of a column the
// strongest applies. Every other setting is that of the most specific entry.
func (m *Mapping) Rule(database, table string) (*Rule, error) {
	if isSystemSchema(database) {
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
				"%s.%s matches %q and %q (line %d) and neither is more specific; "+
					"add an entry %q with the settings of this table", database, table,
				best.Pattern, r.Pattern, r.Line, binlog.PatternOf(database, table))}
		}
	}
	out := &Rule{
		TableRule: *best, Wildcard: best.tables().IsWildcard(), own: len(best.Columns.Exclude),
		salt: m.Salt,
	}
	out.Columns.Exclude = slices.Clone(best.Columns.Exclude)
	for _, r := range found {
		if r != best {
			out.Columns.Exclude = append(out.Columns.Exclude, r.Columns.Exclude...)
			if len(r.Columns.Mask) > 0 {
				out.masks = append(out.masks, r.Columns.Mask)
			}
		}
	}
	return out, nil
}

// SkipReason returns why a table is not mapped although a wildcard matches its name, or "". The one
// reason is that the table is a helper table of a schema change. There is no reason to report if
// an entry for this one table maps the table, or if an entry ignores it.
func (m *Mapping) SkipReason(database, table string) string {
	helper := helperPattern(table)
	if helper == "" || isSystemSchema(database) {
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
	return fmt.Sprintf("its name matches %s, as the helper tables of schema changes do, "+
		"which wildcards do not match; to map it, add an entry for its full name", helper)
}

// UnknownNames returns what is most likely misspelt in the mapping: as missing the entries for one
// table that the server does not have, as unknown those columns of a wildcard that no table has
// which the wildcard matches. Neither is always a fault: the table or column may be created later.
// The columns of an entry for one table are checked by Compile.
//
// tables holds all tables of the server; only names are used, of tables and of columns.
func (m *Mapping) UnknownNames(tables []*binlog.Table) (missing, unknown []*MappingError) {
	for i := range m.Tables {
		r := &m.Tables[i]
		p := r.tables()
		switch {
		case p.IsWildcard():
			unknown = append(unknown, r.unknownColumns(tables)...)
		case !slices.ContainsFunc(tables, func(t *binlog.Table) bool {
			return p.Matches(t.Database, t.Name)
		}):
			missing = append(missing, &MappingError{
				Path: r.Path, Line: r.Line, Message: fmt.Sprintf(
					"the server has no table %s%s", r.Pattern, r.didYouMean(tables)),
			})
		}
	}
	return missing, unknown
}

// didYouMean returns the end of a message about an entry whose table does not exist. It suggests a
// pattern, with the backquotes that the name of the table requires.
func (r *TableRule) didYouMean(tables []*binlog.Table) string {
	patterns := make([]string, len(tables))
	for i, t := range tables {
		patterns[i] = binlog.PatternOf(t.Database, t.Name).String()
		if t.FullName() == r.Pattern { // a dot within a name was taken for the separator
			return fmt.Sprintf("; did you mean %q?", patterns[i])
		}
	}
	return suggest.DidYouMean(r.Pattern, patterns)
}

// unknownColumns returns the columns of a wildcard that none of its tables has. For a wildcard
// without tables it returns nil.
func (r *TableRule) unknownColumns(tables []*binlog.Table) []*MappingError {
	known, matched := map[string]bool{}, false
	var names []string
	for _, t := range tables {
		if !r.matches(t.Database, t.Name) {
			continue
		}
		matched = true
		for _, name := range t.ColumnNames() {
			if folded := binlog.FoldName(name); !known[folded] {
				known[folded] = true
				names = append(names, name)
			}
		}
	}
	if !matched {
		return nil
	}
	var out []*MappingError
	check := func(part string, listed []string) {
		for _, name := range listed {
			if !known[binlog.FoldName(name)] {
				out = append(out, &MappingError{
					Path: r.Path + "." + part, Line: r.line(part),
					Message: fmt.Sprintf("no table that matches %q has a column %q%s",
						r.Pattern, name, suggest.DidYouMean(name, names)),
				})
			}
		}
	}
	check("columns.exclude", r.Columns.Exclude)
	check("columns.include", r.Columns.Include)
	check("columns.rename", slices.Sorted(maps.Keys(r.Columns.Rename)))
	check("columns.mask", slices.Sorted(maps.Keys(r.Columns.Mask)))
	check("columns.max_bytes", slices.Sorted(maps.Keys(r.Columns.MaxBytes)))
	return out
}
