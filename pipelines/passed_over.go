package pipelines

import (
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform"
)

// recordPassedOver notes a table that wildcards pass over by its name, and reports whether it is one. Such
// a table is none of the data's, so it is no part of the state: it is found again at every start.
func (s *tableSet) recordPassedOver(m *transform.Mapping, n tableName) bool {
	reason := m.SkipReason(n.database, n.table)
	if reason != "" {
		s.passedOver[n] = reason
	}
	return reason != ""
}

// leftOut returns the tables that the mapping names and that are not mapped, with the reasons.
func (s *tableSet) unmappedTables() map[string]string {
	all := maps.Clone(s.unmapped)
	for n, reason := range s.passedOver {
		all[n.String()] = reason
	}
	return all
}

// exact returns the mapped table that a pattern names alone, or nil.
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

// trackPassedOver follows the helper tables of a schema change as they come and go.
// lowerCase is set where the server stores the names of tables so.
func (l *loop) trackPassedOver(s parsedStatement, lowerCase bool) {
	switch s.verb {
	case verbDrop, verbRename, verbDropDatabase:
		maps.DeleteFunc(l.tables.passedOver, func(n tableName, _ string) bool {
			return s.verb == verbDropDatabase && strings.EqualFold(n.database, s.database) ||
				slices.ContainsFunc(s.tables, func(o tableName) bool {
					return strings.EqualFold(o.String(), n.String())
				})
		})
	}
	for _, n := range s.targets {
		if lowerCase {
			n = tableName{strings.ToLower(n.database), strings.ToLower(n.table)}
		}
		if l.tables.recordPassedOver(&l.config.Mapping, n) {
			l.log.Info().Stringer("table", n).Str("reason", l.tables.passedOver[n]).
				Msg("new table is not mapped")
		}
	}
}
