package source

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
)

// SchemaReader reads the definitions of tables as the source has them now. Every method may wait
// for a lock that another session holds. It has more than five methods because they share this
// wait, and a statement of DDL needs most of them.
type SchemaReader interface {
	// Schemas returns the tables that the mapping matches, by database.table. If only is not nil,
	// it returns those of them that only names.
	Schemas(ctx context.Context, only map[string]bool) (map[string]*binlog.Table, error)
	// AllTables returns every table that the user may see, with the names of its columns only.
	AllTables(ctx context.Context) ([]*binlog.Table, error)
	// AwaitDDL waits until a logged statement's effect on a table is visible to Schemas.
	AwaitDDL(ctx context.Context, t ddl.TableName) error
	// CheckGrants returns an error if the user may not read every table of the mapping.
	CheckGrants(ctx context.Context) error
	// UnloggedCascades returns the foreign keys of tables that change rows without logging them.
	// The tables need not be mapped.
	UnloggedCascades(ctx context.Context, tables []ddl.TableName) ([]UnloggedCascade, error)
	// TableSchema returns the schema of any table that the user may read; nil if no such
	// table exists.
	TableSchema(ctx context.Context, t ddl.TableName) (*binlog.Table, error)
	// EndOfLog returns the end that the source's log has now, as file and offset.
	EndOfLog(ctx context.Context) (binlog.Position, error)
	// Definitions returns the definitions of tables that Schemas has returned, in their order. That
	// of a table that was dropped meanwhile is Partial.
	Definitions(ctx context.Context, tables []*binlog.Table) ([]*ddl.Schema, error)
	// Databases returns the default character sets of all databases.
	Databases(ctx context.Context) (map[string]ddl.Charset, error)
	// Dialect returns how statements are to be read, besides what their events carry.
	Dialect() ddl.Options
}

// UnloggedCascade is a foreign key whose cascade changes rows of Table without logging them.
type UnloggedCascade struct {
	Table ddl.TableName
	Key   query.ForeignKey
}
