package query

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// Definition returns the definition of a table as SHOW CREATE TABLE prints it. t is what Tables has
// returned. If the text is not understood, or differs from t, or if the table was dropped or
// renamed since then, Definition returns that of t, with Partial set. So it does for a view, whose
// text needs the privilege SHOW VIEW.
func Definition(ctx context.Context, c *mysql.Conn, t *binlog.Table) (*ddl.Schema, error) {
	if t.NotFollowed == kindsNotFollowed["VIEW"] {
		return ddl.FromTable(t), nil
	}
	schema, err := definition(ctx, c, t)
	if IsNoTable(err) {
		return ddl.FromTable(t), nil
	}
	return schema, err
}

// definition is Definition for a table that exists.
func definition(ctx context.Context, c *mysql.Conn, t *binlog.Table) (*ddl.Schema, error) {
	r, err := c.Query(ctx, "SHOW CREATE TABLE "+sqltext.QuoteTable(t.Database, t.Name))
	if err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", t.FullName(), err)
	}
	schema := ddl.FromTable(t)
	if len(r.Rows) == 1 && len(r.Rows[0]) >= 2 {
		if full := parseDefinition(c.Server(), t, string(r.Rows[0][1])); full != nil {
			schema = full
		}
	}
	schema.NotFollowed = t.NotFollowed
	return schema, nil
}

// parseDefinition returns the definition that a CREATE TABLE defines, or nil if that is not t.
func parseDefinition(server mysql.Server, t *binlog.Table, sql string) *ddl.Schema {
	o := DDLOptions(server)
	o.Database = t.Database
	effects, err := ddl.Parse(sql, o).Apply(noTables{})
	if err != nil || len(effects) != 1 || effects[0].Schema == nil {
		return nil
	}
	full := *effects[0].Schema
	full.Database, full.Name = t.Database, t.Name
	full.NotFollowed = t.NotFollowed
	if len(full.Columns) == len(t.Columns) {
		for i := range full.Columns {
			full.Columns[i].Unreadable = t.Columns[i].Unreadable
		}
	}
	if !full.Table().Equal(t) {
		return nil
	}
	return &full
}

// noTables is a ddl.Catalog without tables.
type noTables struct{}

func (noTables) Table(ddl.TableName) *ddl.Schema     { return nil }
func (noTables) Tables(string) []ddl.TableName       { return nil }
func (noTables) Database(string) (ddl.Charset, bool) { return ddl.Charset{}, false }

// DDLOptions returns what a statement's meaning depends on and its event does not carry.
func DDLOptions(s mysql.Server) ddl.Options {
	return ddl.Options{
		MariaDB:        s.Flavor == mysql.MariaDB,
		Version:        s.Major*10000 + s.Minor*100 + s.Patch,
		LowerCaseNames: s.LowerCaseNames,
	}
}

// Databases returns the default character sets of all databases that the user may see.
func Databases(ctx context.Context, c *mysql.Conn) (map[string]ddl.Charset, error) {
	r, err := c.Query(ctx,
		"SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME "+
			"FROM information_schema.SCHEMATA")
	if err != nil {
		return nil, fmt.Errorf("read the databases' character sets: %w", err)
	}
	all := make(map[string]ddl.Charset, len(r.Rows))
	for _, row := range r.Rows {
		all[string(row[0])] = ddl.Charset{Name: string(row[1]), Collation: string(row[2])}
	}
	return all, nil
}

// PresentDefinition reads a table's definition as it is now, nil if there is no such table, and a
// position at which all statements that led to it are in the binlog.
func PresentDefinition(
	ctx context.Context, c *mysql.Conn, database, name string,
) (*ddl.Schema, binlog.Position, error) {
	tables, err := Tables(ctx, c, func(d, n string) bool { return d == database && n == name })
	if err != nil {
		return nil, binlog.Position{}, err
	}
	var schema *ddl.Schema
	if len(tables) > 0 {
		if schema, err = definition(ctx, c, tables[0]); err != nil {
			return nil, binlog.Position{}, err
		}
		// MariaDB logs a statement after its effect is visible, and keeps the table's lock.
		err = AwaitMetadataLock(ctx, c, database, name)
		if err != nil && (mysql.IsCode(err, mysql.CodeLockTimeout) ||
			!errors.As(err, new(*mysql.ServerError))) {
			return nil, binlog.Position{}, err
		}
	}
	end, err := EndOfLog(ctx, c)
	return schema, end, err
}
