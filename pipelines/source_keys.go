package pipelines

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/query"
)

// keySource is the part of a source that searches use.
type keySource interface {
	// OpenKeys returns a reader of keys for one goroutine. The caller closes it.
	OpenKeys() keyReader
	// OpenReplay opens a second stream of the binlog, with the tables of a replay.
	OpenReplay(ctx context.Context, start replayStart) (eventStream, error)
}

// keyReader reads pages of keys.
type keyReader interface {
	// ReadKeys reads a page, see query.ReadKeys. reset is called before the first key, and before
	// keys are read again.
	ReadKeys(ctx context.Context, request query.KeysRequest, reset func(),
		key func(texts [][]byte) error) (query.KeysResult, error)
	Close()
}

// replayStart holds the position at which a replay's stream starts, and the replay's tables.
type replayStart struct {
	position binlog.Position
	tables   events.Tables
}
