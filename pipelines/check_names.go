package pipelines

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/query"
)

// unused fails where the mapping names what the server does not have: most likely
// a name is misspelt, and what it should keep back would leave. A table may be
// created in a minute, so it is tried again; a column is no such thing. It also
// notes the tables that wildcards pass over.
func (l *loop) checkNames(ctx context.Context) error {
	var tables []*binlog.Table
	err := l.wait.retryWhileLocked(ctx, "a table of the server", false, func() (err error) {
		tables, err = query.Names(ctx, l.conn)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range tables {
		l.tables.recordPassedOver(&l.config.Mapping, tableName{t.Database, t.Name})
	}
	missing, columns := l.config.Mapping.UnknownNames(tables)
	var faults []error
	for _, e := range columns {
		faults = append(faults, e)
	}
	if len(faults) > 0 {
		return &StopError{l.config.Locate(errors.Join(faults...))}
	}
	for _, e := range missing {
		if !l.hasEntryTable(e.Path) { // else the stream will tell what became of it
			faults = append(faults, e)
		}
	}
	// Located here, since Run takes a fault of the mapping for one that no retry mends.
	return l.config.Locate(errors.Join(faults...))
}

// knows reports whether the data has the table of an entry.
func (l *loop) hasEntryTable(path string) bool {
	for i := range l.config.Mapping.Tables {
		if r := &l.config.Mapping.Tables[i]; r.Path == path {
			return l.tables.exact(r.Pattern) != nil
		}
	}
	return false
}

// entry returns the path of the entry that maps a table, for messages.
func (l *loop) entryPath(t *binlog.Table) string {
	if rule, err := l.config.Mapping.Rule(t.Database, t.Name); err == nil && rule != nil {
		return rule.Path
	}
	return "tables"
}
