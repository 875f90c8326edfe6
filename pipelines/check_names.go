package pipelines

import (
	"context"
	"errors"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// checkNames returns an error if the mapping names a table or column that the server does not
// have. Such a name is most likely misspelled, and an exclusion by it would have no effect. A
// missing column is a StopError. A missing table is not, since the table may be created soon.
//
// If the run continues data, the names were checked when the data were begun. What is missing now
// was dropped or renamed since, and status warns of it.
//
// It also records the tables that wildcards skip because of their names.
func (l *loop) checkNames(ctx context.Context) error {
	tables, err := l.schemas.AllTables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		l.tables.recordSkipped(&l.config.Mapping, ddl.NameOf(t))
	}
	missing, columns := l.config.Mapping.UnknownNames(tables)
	var faults []error
	if l.hasData {
		l.unknownNames = l.unknownNames[:0]
		for _, e := range columns {
			l.unknownNames = append(l.unknownNames,
				TableWarning{l.patternAt(e.Path), l.config.Locate(e).Error()})
		}
		l.missingIsDropped(missing)
		return nil
	}
	for _, e := range columns {
		faults = append(faults, e)
	}
	if len(faults) > 0 {
		return &StopError{Err: l.config.Locate(errors.Join(faults...))}
	}
	for _, e := range missing {
		// A --schema dump may have the table: a statement in the stream drops it.
		if l.tables.exact(l.ruleAt(e.Path).Pattern) == nil {
			faults = append(faults, e)
		}
	}
	// Located here, because Pipeline.Run makes a StopError of every fault that is not located.
	return l.config.Locate(errors.Join(faults...))
}

// patternAt returns the pattern of the entry that contains a path.
func (l *loop) patternAt(path string) string {
	for i := range l.config.Mapping.Tables {
		r := &l.config.Mapping.Tables[i]
		if path == r.Path || strings.HasPrefix(path, r.Path+".") {
			return r.Pattern
		}
	}
	return ""
}

// entryPath returns the path of the entry that maps a table, for messages.
func (l *loop) entryPath(t *binlog.Table) string {
	if rule, err := l.config.Mapping.Rule(t.Database, t.Name); err == nil && rule != nil {
		return rule.Path
	}
	return "tables"
}
