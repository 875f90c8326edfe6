package pipelines

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/query"
)

// These two interfaces are what the loop needs of a source while it streams. A source of another
// kind implements them. What only a MySQL has (where a first start begins, how two histories
// compare) is in start.go and history.go, which use the connection itself.

// eventStream is a stream of changes; *dump.Stream implements it. Only Wake may be called from
// another goroutine than Next. It has more than five methods because the three of
// historyEvidence come from the same connection.
type eventStream interface {
	// Next waits for the next event, which is valid until the following call. It returns a
	// Progress event after Wake, and when the source is idle. If ctx ends, Next returns its error
	// and may be called again; any other error is final.
	Next(ctx context.Context) (*binlog.Event, error)
	// Position returns where the stream stands, never within a transaction. It changes with Next.
	Position() *binlog.Position
	// Buffered reports whether another event was received already.
	Buffered() bool
	// Wake makes a waiting or the following Next return a Progress event.
	Wake()
	// Forget makes the stream look up every table again, from the next statement on.
	Forget()

	historyEvidence
}

// historyEvidence identifies the transactions that a stream has passed, so that a later run can
// detect that the source has other ones in their place.
type historyEvidence interface {
	// Last identifies the last transaction that Position includes; zero if there is none.
	Last() binlog.Evidence
	// PositionEvidence identifies a position at which data begin, before the first transaction;
	// zero if the source cannot.
	PositionEvidence(at binlog.Position) binlog.Evidence
	// Transaction identifies the transaction that is being read.
	Transaction() binlog.Evidence
	// Unproved returns why the source's history could not be compared with the data's; empty if
	// it was compared.
	Unproved() string
}

// schemaReader reads the definitions of tables as the source has them now; *mysqlSchemas
// implements it. Every method may wait for a lock that another session holds.
type schemaReader interface {
	// Schemas returns the tables that the mapping matches, by database.table.
	Schemas(ctx context.Context) (map[string]*binlog.Table, error)
	// AllTables returns every table that the user may see, with the names of its columns only.
	AllTables(ctx context.Context) ([]*binlog.Table, error)
	// AwaitDDL waits until a logged statement's effect on a table is visible to Schemas.
	AwaitDDL(ctx context.Context, t tableName) error
	// CheckGrants returns an error if the user may not read every table of the mapping.
	CheckGrants(ctx context.Context) error
	// UnloggedCascades returns the foreign keys of tables that change rows without logging them.
	UnloggedCascades(ctx context.Context, tables []*binlog.Table) ([]unloggedCascade, error)
	// EndOfLog returns the end that the source's log has now, as file and offset.
	EndOfLog(ctx context.Context) (binlog.Position, error)
	// StoredName returns a table's name in the case in which the source stores it.
	StoredName(t tableName) tableName
}

// unloggedCascade is a foreign key whose cascade changes rows of table without logging them.
type unloggedCascade struct {
	table *binlog.Table
	key   query.ForeignKey
}
