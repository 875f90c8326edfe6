package jobs

import (
	"context"
	"sync/atomic"

	"rowfall/binlog"
)

// task is one query about a table, and the change of the sink that follows from its result. The
// loop creates it, a worker runs it, and the loop applies it when the stream has passed its fence.
type task interface {
	// run executes the query. It is called by a worker.
	run(ctx context.Context, rows RowReader) error
	// apply writes what follows from the result, after the stream has passed the fence.
	apply(ctx context.Context, e *Engine) error
	// markDirty records a change that the stream applies between the request and the fence.
	markDirty(c *binlog.Change) error
	// retry reports whether the query must be run again, and prepares for that.
	retry(e *Engine) bool
	base() *taskBase
}

// taskBase is what all tasks have in common. The bracket of two positions, F and H, makes a result
// usable:
//
//   - F, from, is the stream's position when the task is requested. The SELECT waits until
//     everything up to F is visible, because a server sends a transaction before the commit is
//     visible.
//   - H, the fence, is the binlog's end after the SELECT. The result holds nothing after H.
//
// What the stream changes between F and H is dirty and not written. The rest is as of H, and is
// written when the stream passes H.
type taskBase struct {
	table     *Table
	from      binlog.Position // F
	fence     binlog.Position // H
	reserved  int             // rows that the limiter has granted
	rows      int             // rows that were read
	discarded bool            // apply must write nothing
	ofKeys    bool            // the task is of the table's keys job
	// done is set when the worker has finished. Until then the worker owns what run changes.
	done atomic.Bool
	err  error
}

func (t *taskBase) base() *taskBase { return t }
