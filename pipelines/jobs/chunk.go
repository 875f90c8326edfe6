package jobs

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
)

// firstChunkRows limits a table's first chunk, which shows how large the rows are.
const firstChunkRows = 1000

// chunk is the next rows of a range of a table, in the order of its key, from the SELECT to the
// sink. While the chunk waits for its fence, further SELECTs may extend it, see extend.go.
type chunk struct {
	taskBase
	rowBuffer // what was read
	of        *keyRange
	after     [][]byte
	until     [][]byte // nil: up to limit
	limit     int      // of the rows of one SELECT
	// findMaximum makes the SELECT find the end of the table for keyRange.maximum.
	findMaximum bool
	bytes       int // the chunk's share of Config.ChunkBytes
	// dirtyBytes is Config.DirtyKeyBytes.
	dirtyBytes int

	dirty  dirtyKeys
	key    []byte
	result query.ChunkResult // of the last SELECT
	extension
}

// nextChunk returns the chunk that continues a range of a table. If the range has a chunk that was
// read and is not applied yet, the new one continues after that.
func (e *Engine) nextChunk(t *Table, r *keyRange) *chunk {
	c := r.repeat
	if c == nil {
		c = &chunk{
			after: r.After, until: r.Until, limit: min(firstChunkRows, e.config.ChunkRows),
		}
		if before, _ := t.chunksOf(r); before != nil {
			c.after = before.result.Last
		}
		if r.nextRows > 0 {
			c.limit = r.nextRows
		}
	}
	c.of, c.first, r.repeat = r, c.after, nil
	c.findMaximum = r.Until == nil && r.maximum == nil && e.isWorthSplitting(t, r)
	e.takeBuffers(c)
	c.compare, c.plan, c.now = t.Job.Compare, t.Plan.Clone(), e.host.Now
	c.hasLetters = !t.Letters.IsEmpty()
	if c.isOneUnit() {
		c.limit = min(c.limit, unitRows)
	}
	c.reserved, c.bytes = c.limit, e.chunkShare()
	c.dirtyBytes = e.config.DirtyKeyBytes
	return c
}

// errChunkFull ends the SELECT of a chunk whose rows exceed the chunk's share of memory.
var errChunkFull = errors.New("chunk is full")

// run fills the chunk, or extends it. If the rows do not fit, it reads as many rows as fit.
func (c *chunk) run(ctx context.Context, rows RowReader) error {
	for {
		request := query.ChunkRequest{
			Table: c.plan.Table(), Key: Order(c.plan.Table(), c.plan),
			After: c.after, Until: c.until, Limit: c.limit,
			FindMaximum: c.findMaximum,
		}
		result, err := rows.ReadRows(ctx, request, c.from, c)
		switch {
		case errors.Is(err, errChunkFull) && c.isExtended():
			c.undoExtension()
			return nil
		case errors.Is(err, errChunkFull):
			c.limit = max(1, len(c.read))
			continue
		case err != nil:
			return err
		case c.isExtended() && !isAtOrAfter(&result.Fence, &c.fence):
			c.undoExtension()
			return nil
		}
		c.result, c.fence, c.rows = result, result.Fence, c.rows+result.Rows
		if !c.isExtended() || c.rows >= c.more || !c.hasRoom() || c.isAtEnd() {
			return nil
		}
		c.after, c.kept = result.Last, len(c.read)
	}
}

// Reset removes the rows of the current SELECT, before they are read once more.
func (c *chunk) Reset() { c.truncate(c.kept) }

// Add appends a row, or returns errChunkFull.
func (c *chunk) Add(row *binlog.Row) error {
	if len(c.read) > 0 && c.size() > 2*c.bytes {
		return errChunkFull
	}
	return c.add(row)
}

// markDirty uses the table's plan; the chunk's plan belongs to the worker.
func (c *chunk) markDirty(change *binlog.Change) error {
	if c.dirty.overflowed || c.discarded {
		return nil
	}
	for _, row := range [...]*binlog.Row{change.Before, change.After} {
		if row == nil {
			continue
		}
		key, err := c.table.Plan.AppendRowKey(c.key[:0], row)
		if err != nil {
			return err
		}
		c.key = key
		c.dirty.add(key)
	}
	if c.dirty.size <= c.dirtyBytes {
		return nil
	}
	if c.done.Load() {
		c.dirty.restrictTo(c.eachKey)
	} else {
		c.dirty.overflow()
	}
	return nil
}

// retry schedules a chunk whose dirty keys overflowed to be read again, between the same bounds.
// This time the rows are known beforehand, and only their keys are recorded. So the chunk cannot
// overflow twice, and the job progresses however much is written. If the chunk was extended, the
// first SELECT is the one that is certain to progress: the rows after it are read as usual.
//
// A row that is in the chunk only now was written after F. The stream has sent that row, or will
// before H, so it counts as dirty.
func (c *chunk) retry(e *Engine) bool {
	if !c.dirty.overflowed || len(c.read) == 0 {
		return false
	}
	again := &chunk{
		after: c.first, until: c.result.Last,
		limit: min(len(c.read), e.config.ChunkRows),
	}
	again.dirty.restrictTo(c.eachKey)
	c.of.repeat, c.of.nextRows = again, 0
	return true
}

// growth is the largest ratio of the limits of a chunk and of the chunk before, because larger rows
// may follow. The SELECT of a chunk that does not fit is ended early, which costs a connection.
const growth = 8

// nextLimit returns the limit in rows of the chunk after this one. most is Config.ChunkRows.
func (c *chunk) nextLimit(most int) int {
	if len(c.read) == 0 {
		return min(firstChunkRows, most)
	}
	size := c.size()/len(c.read) + 1
	return max(1, min(most, c.bytes/size, growth*c.limit))
}

// apply writes the clean rows of a chunk in units. The last unit carries how far the range was
// read.
func (c *chunk) apply(ctx context.Context, e *Engine) error {
	t := c.table
	if err := c.write(ctx, e, t, &c.dirty); err != nil || t.Fault != nil {
		return errors.Join(err, e.host.Flush(ctx))
	}
	t.Job.Rows += int64(len(c.read))
	c.of.nextRows = c.nextLimit(e.config.ChunkRows)
	t.advance(c.of, &c.result)
	if err := e.saveRead(ctx, t, len(t.ranges) == 0); err != nil {
		return err
	}
	e.keepBuffers(c)
	return nil
}

// saveRead saves the job of a table after rows were read. After the last row, isEnd, it begins the
// sweep or ends the job.
func (e *Engine) saveRead(ctx context.Context, t *Table, isEnd bool) error {
	if isEnd {
		t.ranges = nil
		if t.Job.Sweep != nil {
			t.Job.Sweep = &tablestate.Sweep{Reached: true, Confirmed: t.Job.Sweep.Confirmed}
		} else {
			t.Job.Done = true
		}
	}
	e.count(t)
	e.host.Report(e.rows, e.rows+e.remaining)
	if err := e.host.SaveJob(t); err != nil {
		return err
	}
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	if isEnd {
		e.log.Info().Str("table", t.FullName()).Int64("rows", t.Job.Rows).Msg("table read")
	}
	return nil
}
