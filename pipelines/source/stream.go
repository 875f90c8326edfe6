package source

import (
	"context"

	"rowfall/binlog"
)

// Stream is a stream of changes. Only Wake may be called from another goroutine than Next. It
// has more than five methods because those of HistoryEvidence come from the same connection.
type Stream interface {
	// Next waits for the next event, which is valid until the following call. It returns a
	// Progress event after Wake, and when the source is idle. If ctx ends, Next returns its error
	// and may be called again; any other error is final.
	Next(ctx context.Context) (*binlog.Event, error)
	// Position returns the stream's position, which is never within a transaction. Next changes it.
	Position() *binlog.Position
	// Present is Next, but returns nil if the next event was not received completely yet.
	Present(ctx context.Context) (*binlog.Event, error)
	// Fill receives what the source has sent already, without waiting for more. It reports whether
	// it received anything. If so, Present may return an event.
	Fill() bool
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

	HistoryEvidence
}

// HistoryEvidence identifies the transactions that a stream has passed, so that a later run can
// detect that the source has other ones in their place.
type HistoryEvidence interface {
	// Last identifies the last transaction that Position includes; zero if it is not known.
	Last() binlog.Evidence
	// PositionEvidence identifies a position at which data begin, before the first transaction;
	// zero if the source cannot identify positions.
	PositionEvidence(at binlog.Position) binlog.Evidence
	// Transaction identifies the transaction that is being read, or that was read last if
	// InTransaction reports false.
	Transaction() binlog.Evidence
	InTransaction() bool
	// Unproved returns why the source's history could not be compared with the data's; empty if
	// it was compared.
	Unproved() string
}
