package pipelines

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
)

// The interfaces of this file are what a run needs of a source. A source of another kind implements
// them. *mysqlSource implements source; *dump.Stream implements eventStream. They are several small
// interfaces, one for each part of the loop, so that a test can replace one part. Their methods
// return the plain values of packages binlog, ddl and query, which hold no connection.

// source is what a run is connected to. Each part of the loop needs one of the parts.
type source interface {
	schemaReader
	positionReader
	sourceServer
	jobs.RowSource
	keySource
}

// positionReader reads positions of a source, for a first start and for --from.
type positionReader interface {
	// Now returns the source's clock, in microseconds since 1970.
	Now(ctx context.Context) (int64, error)
	// End returns the position that includes every transaction so far. visible means that
	// schemaReader shows the effects of everything up to there.
	End(ctx context.Context) (p binlog.Position, visible bool, err error)
	// ResolvePosition returns the place that the user means by a GTID set or FILE:OFFSET. It
	// returns a StopError if the source has no such place.
	ResolvePosition(ctx context.Context, text string) (binlog.Position, error)
}

// sourceServer is the server that a run is connected to. It has more than five methods because one
// connection answers all of them.
type sourceServer interface {
	// Identity returns the server's identity, which never changes during a run.
	Identity() serverIdentity
	// CheckOrigin returns a StopError if data from the server whose UUID is origin cannot be
	// continued here, because that server is another product, such as MariaDB instead of MySQL.
	CheckOrigin(origin string) error
	// CheckSettings returns what must change before the server can be followed.
	CheckSettings(ctx context.Context) ([]query.Problem, error)
	// MissingGTIDs returns the transactions of a set that the server does not have. It may wait
	// for them for a moment.
	MissingGTIDs(ctx context.Context, set *binlog.GTIDSet) (binlog.GTIDSet, error)
	// IsPurged reports whether the log at a position was purged, although the history contains
	// the position. server is the UUID that the position's file belongs to.
	IsPurged(ctx context.Context, at binlog.Position, server string) (bool, error)
	// OpenStream opens a stream. It returns a *binlog.HistoryError if the server has another
	// history than the data.
	OpenStream(ctx context.Context, start streamStart) (eventStream, error)
}

// serverIdentity identifies a server.
type serverIdentity struct {
	UUID     string
	ServerID uint32
	Addr     string // host:port, for messages
	HasGTIDs bool   // every transaction has a GTID
}

// streamStart is where a stream starts. last is the evidence of the last transaction that position
// includes; its zero value means that there is nothing to compare.
type streamStart struct {
	position binlog.Position
	last     binlog.Evidence
	tables   events.Tables // the mapped tables
}

// eventStream is a stream of changes. Only Wake may be called from another goroutine than Next. It
// has more than five methods because those of historyEvidence come from the same connection.
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
	// Skip replaces the requests to leave out transactions. Of a transaction that is left out
	// entirely, the stream yields only statements and the end, with Event.Skipped set. If only the
	// changes of some tables are left out, rows of these tables that cannot be read are not an
	// error.
	Skip(skips []binlog.Skip)
	// Close ends the stream.
	Close() error

	historyEvidence
}

// historyEvidence identifies the transactions that a stream has passed, so that a later run can
// detect that the source has other ones in their place.
type historyEvidence interface {
	// Last identifies the last transaction that Position includes; zero if it is not known.
	Last() binlog.Evidence
	// PositionEvidence identifies a position at which data begin, before the first transaction;
	// zero if the source cannot.
	PositionEvidence(at binlog.Position) binlog.Evidence
	// Transaction identifies the transaction that is being read, or that was read last if
	// InTransaction reports false.
	Transaction() binlog.Evidence
	InTransaction() bool
	// Unproved returns why the source's history could not be compared with the data's; empty if
	// it was compared.
	Unproved() string
}

// schemaReader reads the definitions of tables as the source has them now. Every method may wait
// for a lock that another session holds. It has more than five methods because they share this
// wait, and a statement of DDL needs most of them.
type schemaReader interface {
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
	UnloggedCascades(ctx context.Context, tables []ddl.TableName) ([]unloggedCascade, error)
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

// unloggedCascade is a foreign key whose cascade changes rows of table without logging them.
type unloggedCascade struct {
	table ddl.TableName
	key   query.ForeignKey
}
