package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
)

// unused fails where the mapping names what the server does not have: most likely
// a name is misspelt, and what it should keep back would leave. A table may be
// created in a minute, so it is tried again; a column is no such thing.
func (l *loop) unused(ctx context.Context) error {
	tables, err := l.serverTables(ctx)
	if err != nil {
		return err
	}
	missing, columns := l.config.Mapping.Unused(tables)
	if len(columns) > 0 {
		return &StopError{columns[0]}
	}
	for _, e := range missing {
		if l.knows(e.Path) {
			continue // the stream will tell what became of it
		}
		return errors.New(l.config.Path + ": " + e.Error())
	}
	return nil
}

// knows reports whether the data has the table of an entry.
func (l *loop) knows(path string) bool {
	for i := range l.config.Mapping.Tables {
		if r := &l.config.Mapping.Tables[i]; r.Path == path {
			return l.tables.all[r.Pattern] != nil
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
