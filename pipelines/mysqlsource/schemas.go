package mysqlsource

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
	"rowfall/transform"
)

// schemas reads table definitions over a connection of its own, never rows.
type schemas struct {
	conn    *mysql.Conn
	wait    *queryWait // of conn
	mapping *transform.Mapping
}

// Schemas retries while a table is locked: MariaDB cannot show the columns of a table whose
// metadata lock is held exclusively.
func (m *schemas) Schemas(
	ctx context.Context, only map[string]bool,
) (schemas map[string]*binlog.Table, err error) {
	err = m.wait.retryWhileLocked(ctx, "a mapped table", false, func() error {
		schemas, err = ReadSchemas(ctx, m.conn, m.mapping, only)
		return err
	})
	return schemas, err
}

// AllTables retries while a table is locked.
func (m *schemas) AllTables(ctx context.Context) (tables []*binlog.Table, err error) {
	err = m.wait.retryWhileLocked(ctx, "a table of the server", false, func() error {
		tables, err = query.Names(ctx, m.conn)
		return err
	})
	return tables, err
}

// AwaitDDL waits for the table's metadata lock, without a limit: later changes must not be applied
// before the effect of the statement is known. The wait shows as a hold of the pipeline.
func (m *schemas) AwaitDDL(ctx context.Context, t ddl.TableName) error {
	return m.wait.retryWhileLocked(ctx, t.String(), true, func() error {
		err := query.AwaitMetadataLock(ctx, m.conn, t.Database, t.Table)
		// Are rows of this table never followed? Then its lock does not matter.
		if err == nil || errors.As(err, new(*mysql.ServerError)) && m.isNotFollowed(ctx, t) {
			return nil
		}
		return fmt.Errorf("wait for the metadata lock of %s: %w", t, m.explainDenied(ctx, err))
	})
}

// isNotFollowed reports whether the server lists a table as one that is never followed, such as a
// view.
func (m *schemas) isNotFollowed(ctx context.Context, t ddl.TableName) bool {
	tables, err := query.Tables(ctx, m.conn, func(database, table string) bool {
		return database == t.Database && table == t.Table
	})
	return err == nil && len(tables) == 1 && tables[0].NotFollowed != ""
}

// CheckGrants exists because a table whose SELECT was revoked looks as if it had been dropped, or
// had lost columns. Its error is not a StopError, since the privilege may be granted again.
func (m *schemas) CheckGrants(ctx context.Context) error {
	problems, err := query.CheckSelect(ctx, m.conn, wantedPatterns(m.mapping)...)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.New(problems[0].String())
	}
	return nil
}

// explainDenied adds the missing GRANT to an error of a denied SELECT.
func (m *schemas) explainDenied(ctx context.Context, err error) error {
	var answer *mysql.ServerError
	denied := []uint16{1044, 1142, 1143} // on the database, the table, a column
	if !errors.As(err, &answer) || !slices.Contains(denied, answer.Code) {
		return err
	}
	if missing := m.CheckGrants(ctx); missing != nil {
		return fmt.Errorf("%w (%w)", missing, err)
	}
	return err
}

// UnloggedCascades returns nothing if the server logs the rows that cascades change.
func (m *schemas) UnloggedCascades(
	ctx context.Context, tables []ddl.TableName,
) ([]source.UnloggedCascade, error) {
	logged, err := query.LogsCascades(ctx, m.conn)
	if err != nil || logged {
		return nil, err
	}
	var found []source.UnloggedCascade
	for _, t := range tables {
		keys, err := m.foreignKeys(ctx, t)
		if err != nil {
			return nil, m.explainDenied(ctx, err)
		}
		for _, key := range keys {
			if key.Cascades() != "" {
				found = append(found, source.UnloggedCascade{Table: t, Key: key})
			}
		}
	}
	return found, nil
}

// foreignKeys reads the foreign keys of a table, and retries while the table is locked.
func (m *schemas) foreignKeys(
	ctx context.Context, t ddl.TableName,
) (keys []query.ForeignKey, err error) {
	rule, err := m.mapping.Rule(t.Database, t.Table)
	if err != nil {
		return nil, &source.StopError{Err: err}
	}
	err = m.wait.retryWhileLocked(ctx, t.String(), false, func() (err error) {
		// CheckGrants checks the grants on tables of the mapping, but not on others.
		if rule == nil {
			err = query.CheckSelectable(ctx, m.conn, t.Database, t.Table)
		}
		if err == nil {
			keys, err = query.ForeignKeys(ctx, m.conn, t.Database, t.Table)
		}
		return err
	})
	if rule == nil && err != nil {
		err = fmt.Errorf("%w; rows of tables with `cascades: reconcile` depend on this table: "+
			"grant SELECT on it, or set `cascades: ignore`", err)
	}
	return keys, err
}

// TableSchema implements source.SchemaReader. It returns nil for a table with a column of an
// unsupported type.
func (m *schemas) TableSchema(ctx context.Context, t ddl.TableName) (*binlog.Table, error) {
	var tables []*binlog.Table
	err := m.wait.retryWhileLocked(ctx, t.String(), false, func() (err error) {
		tables, err = query.Tables(ctx, m.conn, func(database, table string) bool {
			return database == t.Database && table == t.Table
		})
		return err
	})
	if errors.As(err, new(*binlog.RefusedError)) || err == nil && len(tables) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", t, err)
	}
	return tables[0], nil
}

// EndOfLog returns the end of the server's binlog.
func (m *schemas) EndOfLog(ctx context.Context) (binlog.Position, error) {
	return query.EndOfLog(ctx, m.conn)
}

// Definitions reads each table's definition. Retries while a table is locked.
func (m *schemas) Definitions(
	ctx context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all := make([]*ddl.Schema, len(tables))
	for i, t := range tables {
		err := m.wait.retryWhileLocked(ctx, t.FullName(), false, func() (err error) {
			all[i], err = query.Definition(ctx, m.conn, t)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Databases returns the databases that the user may see.
func (m *schemas) Databases(ctx context.Context) (map[string]ddl.Charset, error) {
	return query.Databases(ctx, m.conn)
}

// Dialect returns the server's flavor, version and lower_case_table_names.
func (m *schemas) Dialect() ddl.Options { return query.DDLOptions(m.conn.Server()) }

// wantedPatterns returns the patterns of the tables that a mapping reads.
func wantedPatterns(m *transform.Mapping) []string {
	var patterns []string
	for i := range m.Tables {
		if t := &m.Tables[i]; !t.Ignore {
			patterns = append(patterns, t.Pattern)
		}
	}
	return patterns
}

// ReadSchemas returns the tables that a mapping matches, by database.table. If only is not nil, it
// returns those of them that only names.
func ReadSchemas(
	ctx context.Context, conn *mysql.Conn, m *transform.Mapping, only map[string]bool,
) (map[string]*binlog.Table, error) {
	var failed error
	tables, err := query.Tables(ctx, conn, func(database, table string) bool {
		if only != nil && !only[ddl.TableName{Database: database, Table: table}.String()] {
			return false
		}
		rule, err := m.Rule(database, table)
		if err != nil && failed == nil {
			failed = err
		}
		return rule != nil
	})
	if failed != nil {
		return nil, &source.StopError{Err: failed}
	}
	if err != nil {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	byName := make(map[string]*binlog.Table, len(tables))
	for _, t := range tables {
		if other := byName[t.FullName()]; other != nil {
			return nil, source.Stopf("tables `%s`.%s and `%s`.%s have one name in the state; "+
				"leave one of them out of the mapping (ignore: true)",
				other.Database, other.Name, t.Database, t.Name)
		}
		byName[t.FullName()] = t
	}
	return byName, nil
}
