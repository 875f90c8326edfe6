package source

import (
	"context"

	"rowfall/binlog/ddl"
)

// WriteChecker reads what a statement may change besides the tables that it names. It describes the
// tables as the source has them now.
type WriteChecker interface {
	// CheckWritten returns why a statement that writes a table may change other tables, apart from
	// those that foreign keys change: the table is a view or has triggers, or the user may not see
	// whether it has. It returns an empty text if the statement changes only the table. The text
	// begins with query.NoSuchTable if the source shows no such table.
	CheckWritten(ctx context.Context, t ddl.TableName) (why string, err error)
	// CheckRead returns why a statement that reads a table may change any table: the table is a
	// view, which may call functions. It returns an empty text if the statement may not.
	CheckRead(ctx context.Context, t ddl.TableName) (why string, err error)
	// Cascades returns the foreign keys of tables whose actions change rows. The tables need not be
	// mapped.
	Cascades(ctx context.Context, tables []ddl.TableName) ([]UnloggedCascade, error)
}
