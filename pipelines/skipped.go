package pipelines

import (
	"maps"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/transform"
)

// recordSkipped records a table if wildcards skip it because of its name, such as a helper table
// of an online schema change, and reports whether they do.
func (s *tableSet) recordSkipped(m *transform.Mapping, n ddl.TableName) bool {
	reason := m.SkipReason(n.Database, n.Table)
	if reason != "" {
		s.skippedByName[n] = reason
	}
	return reason != ""
}

// unmappedTables returns the tables that the mapping names but that are not mapped, with the
// reasons.
func (s *tableSet) unmappedTables() map[string]string {
	all := maps.Clone(s.unmapped)
	for n, reason := range s.skippedByName {
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
		if p.Matches(t.Database, t.Name) {
			return t
		}
	}
	return nil
}

// trackSkipped updates the tables that wildcards skip, after a statement that created, renamed
// or dropped some.
func (l *loop) trackSkipped(s *ddl.Statement) {
	before := maps.Clone(l.tables.skippedByName)
	defer func() {
		if !maps.Equal(before, l.tables.skippedByName) {
			l.tablesChanged()
		}
	}()
	switch s.Action {
	case ddl.DropDatabase:
		maps.DeleteFunc(l.tables.skippedByName, func(n ddl.TableName, _ string) bool {
			return strings.EqualFold(n.Database, s.Database)
		})
	case ddl.DropTable:
		for _, n := range s.Tables {
			delete(l.tables.skippedByName, n)
		}
	case ddl.CreateTable:
		l.recordNewSkipped(s.Tables[0])
	case ddl.RenameTable:
		for i := 0; i+1 < len(s.Tables); i += 2 {
			delete(l.tables.skippedByName, s.Tables[i])
			l.recordNewSkipped(s.Tables[i+1])
		}
	case ddl.AlterTable:
		for i := range s.Changes {
			if s.Changes[i].Kind == ddl.RenameTo {
				delete(l.tables.skippedByName, s.Tables[0])
				l.recordNewSkipped(s.Changes[i].Table)
			}
		}
	}
}

// recordNewSkipped records a new table if wildcards skip it because of its name.
func (l *loop) recordNewSkipped(n ddl.TableName) {
	if l.tables.recordSkipped(&l.config.Mapping, n) {
		l.log.Info().Stringer("table", n).Str("reason", l.tables.skippedByName[n]).
			Msg("new table is not mapped")
	}
}
