package source

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
)

// Source is what a run is connected to. Each part of the loop needs one of the parts.
type Source interface {
	SchemaReader
	PositionReader
	Server
	jobs.RowSource
	KeySource
	PreparedSource
	WriteChecker
}

// PositionReader reads positions of a source, for a first start and for --from.
type PositionReader interface {
	// Now returns the source's clock, in microseconds since 1970.
	Now(ctx context.Context) (int64, error)
	// End returns the position that includes every transaction so far. visible means that
	// SchemaReader shows the effects of everything up to there.
	End(ctx context.Context) (p binlog.Position, visible bool, err error)
	// ResolvePosition returns the position that a user has written as a GTID set, FILE:OFFSET or
	// time:TIME. It returns a StopError if the source has no such position.
	ResolvePosition(ctx context.Context, text string) (binlog.Position, error)
}

// Server is the server that a run is connected to. It has more than five methods because one
// connection answers all of them.
type Server interface {
	// Identity returns the server's identity, which never changes during a run.
	Identity() Identity
	// CheckOrigin returns a StopError if data from the server whose UUID is origin cannot be
	// continued here, because that server is another product, such as MariaDB instead of MySQL.
	CheckOrigin(origin string) error
	// CheckSettings returns what must change before the server can be followed.
	CheckSettings(ctx context.Context) ([]query.Problem, error)
	// Warnings returns settings that can cost data or time later.
	Warnings(ctx context.Context) ([]query.Problem, error)
	// MissingGTIDs returns the transactions of a set that the server does not have. It may wait
	// for them for a moment.
	MissingGTIDs(ctx context.Context, set *binlog.GTIDSet) (binlog.GTIDSet, error)
	// IsPurged reports whether the log at a position was purged, although the history contains
	// the position. server is the UUID that the position's file belongs to.
	IsPurged(ctx context.Context, at binlog.Position, server string) (bool, error)
	// OpenStream opens a stream. It returns a *binlog.HistoryError if the server has another
	// history than the data.
	OpenStream(ctx context.Context, start StreamStart) (Stream, error)
}

// Identity identifies a server.
type Identity struct {
	UUID     string
	ServerID uint32
	Addr     string // host:port, for messages
	HasGTIDs bool   // every transaction has a GTID
}

// StreamStart is where a stream starts.
type StreamStart struct {
	Position binlog.Position
	// Last is the evidence of the last transaction that Position includes. Its zero value means
	// that there is nothing to compare.
	Last binlog.Evidence
	// Tables are the tables whose rows the stream yields.
	Tables events.Tables
}
