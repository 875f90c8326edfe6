package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
)

// unused fails where the mapping names what the server does not have: most likely
// a name is misspelt, and what it should keep back would leave. A table may be
// created in a minute, so it is tried again; a column is no such thing. It also
// notes the tables that wildcards pass over.
func (l *loop) unused(ctx context.Context) error {
	var tables []*binlog.Table
	err := l.waits.awaitLock(ctx, "a table of the server", false, func() (err error) {
		tables, err = l.serverTables(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range tables {
		l.tables.passOver(&l.config.Mapping, tableName{t.Database, t.Name})
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
		if !l.knows(e.Path) { // else the stream will tell what became of it
			faults = append(faults, e)
		}
	}
	// Located here, since Run takes a fault of the mapping for one that no retry mends.
	return l.config.Locate(errors.Join(faults...))
}

// knows reports whether the data has the table of an entry.
func (l *loop) knows(path string) bool {
	for i := range l.config.Mapping.Tables {
		if r := &l.config.Mapping.Tables[i]; r.Path == path {
			return l.tables.exact(r.Pattern) != nil
		}
	}
	return false
}

// serverTables returns all tables and views that we may see; base tables have the names of
// their columns, and nothing else is filled.
func (l *loop) serverTables(ctx context.Context) ([]*binlog.Table, error) {
	var tables []*binlog.Table
	byName := make(map[tableName]*binlog.Table)
	const list = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES" +
		" WHERE TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED', 'VIEW')"
	err := l.conn.Stream(ctx, list, func(cells [][]byte) error {
		t := &binlog.Table{Database: string(cells[0]), Name: string(cells[1])}
		if string(cells[2]) == "BASE TABLE" {
			byName[tableName{t.Database, t.Name}] = t
		}
		tables = append(tables, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	err = l.conn.Stream(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS", func(cells [][]byte) error {
		if t := byName[tableName{string(cells[0]), string(cells[1])}]; t != nil {
			t.Columns = append(t.Columns, binlog.Column{Name: string(cells[2])})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	return tables, nil
}

// entry returns the path of the entry that maps a table, for messages.
func (l *loop) entry(t *binlog.Table) string {
	if rule, err := l.config.Mapping.Rule(t.Database, t.Name); err == nil && rule != nil {
		return rule.Path
	}
	return "tables"
}
