package pipelines

import (
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform"
)

// recordPassedOver records a table if wildcards pass it over by its name, such as a helper table
// of an online schema change, and reports whether they do.
func (s *tableSet) recordPassedOver(m *transform.Mapping, n tableName) bool {
	reason := m.SkipReason(n.database, n.table)
	if reason != "" {
		s.passedOver[n] = reason
	}
	return reason != ""
}

// unmappedTables returns the tables that match the mapping but are not mapped, with the reasons.
func (s *tableSet) unmappedTables() map[string]string {
	all := maps.Clone(s.unmapped)
	for n, reason := range s.passedOver {
		all[n.String()] = reason
	}
	return all
}

// exact returns the mapped table that a pattern without wildcards names, or nil.
func (s *tableSet) exact(pattern string) *mappedTable {
	p, err := binlog.ParseTablePattern(pattern)
	if err != nil || p.IsWildcard() {
		return nil
	}
	for _, t := range s.all {
		if p.Matches(t.schema.Database, t.schema.Name) {
			return t
		}
	}
	return nil
}

// trackPassedOver updates the tables that are passed over after a statement that created, renamed
// or dropped some.
func (l *loop) trackPassedOver(s *parsedStatement) {
	maps.DeleteFunc(l.tables.passedOver, func(n tableName, _ string) bool { return s.freesName(n) })
	for _, n := range s.targets {
		n = l.schemas.StoredName(n)
		if l.tables.recordPassedOver(&l.config.Mapping, n) {
			l.log.Info().Stringer("table", n).Str("reason", l.tables.passedOver[n]).
				Msg("new table is not mapped")
		}
	}
}

// freesName reports whether the statement drops or renames a table, so that another table can get
// its name.
func (s *parsedStatement) freesName(n tableName) bool {
	switch s.verb {
	case verbDropDatabase:
		return strings.EqualFold(n.database, s.database)
	case verbDrop, verbRename:
		return slices.ContainsFunc(s.tables, func(o tableName) bool {
			return strings.EqualFold(o.String(), n.String())
		})
	}
	return false
}
