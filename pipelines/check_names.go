package pipelines

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// checkNames returns an error if the mapping names a table or column that the server does not
// have. Such a name is most likely misspelled, and an exclusion by it would have no effect. A
// missing column is a StopError. A missing table is not, since the table may be created soon.
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
	for _, e := range columns {
		faults = append(faults, e)
	}
	if len(faults) > 0 {
		return &StopError{Err: l.config.Locate(errors.Join(faults...))}
	}
	for _, e := range missing {
		// If the data have the table, a statement further on in the stream dropped it.
		if !l.hasTableOf(e.Path) {
			faults = append(faults, e)
		}
	}
	// Located here, because Pipeline.Run makes a StopError of every fault that is not located.
	return l.config.Locate(errors.Join(faults...))
}

// hasTableOf reports whether the data have the table that the entry at path names.
func (l *loop) hasTableOf(path string) bool {
	for i := range l.config.Mapping.Tables {
		if r := &l.config.Mapping.Tables[i]; r.Path == path {
			return l.tables.exact(r.Pattern) != nil
		}
	}
	return false
}

// entryPath returns the path of the entry that maps a table, for messages.
func (l *loop) entryPath(t *binlog.Table) string {
	if rule, err := l.config.Mapping.Rule(t.Database, t.Name); err == nil && rule != nil {
		return rule.Path
	}
	return "tables"
}
