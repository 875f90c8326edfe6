package source

import (
	"context"

	"rowfall/binlog/events"
)

// PreparedSource finds XA transactions in older binlog files.
type PreparedSource interface {
	// LogFiles returns the names of the files that the log has, the oldest first. It returns none
	// if the source cannot read older files.
	LogFiles(ctx context.Context) ([]string, error)
	// OpenPrepared opens a second stream, which begins with a file. It yields only the ends of
	// transactions, and the steps of XA transactions with the rows that tables keeps. tables must
	// implement events.Prepared.
	OpenPrepared(ctx context.Context, file string, tables events.Tables) (Stream, error)
}
