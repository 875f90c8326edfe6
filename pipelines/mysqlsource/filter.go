package mysqlsource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/query"
)

// checkFilter returns a problem for each mapped database whose changes binlog_do_db or
// binlog_ignore_db keep out of the binlog: its tables would be loaded, and then never change again.
func (m *Source) checkFilter(ctx context.Context) ([]query.Problem, error) {
	filter, err := query.ReadBinlogFilter(ctx, m.conn)
	if err != nil || filter.IsEmpty() {
		return nil, err
	}
	databases, err := m.mappedDatabases(ctx)
	if err != nil {
		return nil, err
	}
	var problems []query.Problem
	for _, database := range databases {
		if setting := filter.Excludes(database); setting != "" {
			problems = append(problems, query.Problem{
				What: fmt.Sprintf("%s keeps the database %s, which has mapped tables, "+
					"out of the binlog", setting, database),
				Remedy: fmt.Sprintf("change %s in the server's configuration, or leave the "+
					"database out of the mapping (%q: {ignore: true})", setting,
					strings.TrimSuffix(binlog.PatternOf(database, "x").String(), "x")+"*"),
			})
		}
	}
	return problems, nil
}

// mappedDatabases returns the databases that have mapped tables, and those that an entry of the
// mapping names, in order.
func (m *Source) mappedDatabases(ctx context.Context) ([]string, error) {
	tables, err := m.AllTables(ctx)
	if err != nil {
		return nil, err
	}
	var databases []string
	for _, t := range tables {
		rule, err := m.mapping.Rule(t.Database, t.Name)
		if err != nil {
			return nil, err
		}
		if rule != nil {
			databases = append(databases, t.Database)
		}
	}
	for _, pattern := range wantedPatterns(m.mapping) {
		parsed, err := binlog.ParseTablePattern(pattern)
		if err == nil && !parsed.Database.IsWildcard() {
			databases = append(databases, parsed.Database.Plain())
		}
	}
	slices.Sort(databases)
	return slices.Compact(databases), nil
}
