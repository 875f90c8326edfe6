package source

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/query"
)

// KeySource finds rows to read again: by a condition, or by a stretch of the binlog. Any goroutine
// may call it, while the stream is read.
type KeySource interface {
	// OpenKeys returns a reader of keys for one goroutine. The caller closes it.
	OpenKeys() KeyReader
	// OpenReplay opens a second stream of the binlog, with the tables of a replay.
	OpenReplay(ctx context.Context, start ReplayStart) (Stream, error)
}

// KeyReader reads pages of keys. One goroutine uses it.
type KeyReader interface {
	// ReadKeys reads a page, see query.ReadKeys. reset is called before the first key, and before
	// keys are read again.
	ReadKeys(ctx context.Context, request query.KeysRequest, reset func(),
		key func(texts [][]byte) error) (query.KeysResult, error)
	Close()
}

// ReplayStart holds the position at which a replay's stream starts, and the replay's tables.
type ReplayStart struct {
	Position binlog.Position
	Tables   events.Tables
}
