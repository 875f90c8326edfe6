package jobs

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// firstChunkRows limits a table's first chunk, which shows how large the rows are.
const firstChunkRows = 1000

// chunk is a range of a table's rows, in the order of its key, from the SELECT to the sink.
type chunk struct {
	taskBase
	plan *transform.Plan // a clone for the worker: two goroutines cannot share a plan
	// now is when the chunk was requested, by the sink's clock, in milliseconds since 1970.
	now int64
	// compare means that the sink may hold the rows: what differs is written.
	compare bool
	after   [][]byte
	until   [][]byte // nil: up to limit
	limit   int
	bytes   int // the chunk's share of Config.ChunkBytes
	// dirtyBytes is Config.DirtyKeyBytes.
	dirtyBytes int

	dirty dirtyKeys
	key   []byte

	// What was read.
	result query.ChunkResult
	read   []readRow
	keys   []byte
	// unit holds the commands of all rows, in order; or with compare their expectations, as bytes.
	unit transform.Commands
}

// readRow is a row of a chunk: the ends of its key in chunk.keys, and of its commands or
// expectations in chunk.unit.
type readRow struct {
	keyEnd int
	end    transform.Mark
}

// nextChunk returns the chunk that continues a table's job.
func (e *Engine) nextChunk(t *Table) *chunk {
	c := t.repeat
	if c == nil {
		c = &chunk{after: t.Job.After, limit: min(firstChunkRows, e.config.ChunkRows)}
		if t.nextRows > 0 {
			c.limit = t.nextRows
		}
	}
	t.repeat = nil
	e.takeBuffers(c)
	c.compare, c.plan = t.Job.Compare, t.Plan.Clone()
	if c.isOneUnit() {
		c.limit = min(c.limit, unitRows)
	}
	c.now = e.host.Expiry().Now
	c.reserved, c.bytes = c.limit, e.config.ChunkBytes/e.config.Parallel
	c.dirtyBytes = e.config.DirtyKeyBytes
	return c
}

// isOneUnit reports whether the chunk must be written in one unit. That is so if its rows are added
// to a list or a stream: only the last unit of a chunk stores that its rows are written, so after a
// crash between two units rows would be added twice.
func (c *chunk) isOneUnit() bool { return !c.compare && c.plan.ActsOnLoad() }

// errChunkFull ends the SELECT of a chunk whose rows exceed the chunk's share of memory.
var errChunkFull = errors.New("chunk is full")

// run fills the chunk. If the rows do not fit, it reads as many rows as fit.
func (c *chunk) run(ctx context.Context, rows RowReader) error {
	for {
		request := query.ChunkRequest{
			Table: c.plan.Table(), Key: Order(c.plan.Table(), c.plan),
			After: c.after, Until: c.until, Limit: c.limit,
		}
		var err error
		c.result, err = rows.ReadRows(ctx, request, c.from, c)
		if !errors.Is(err, errChunkFull) {
			c.fence, c.rows = c.result.Fence, c.result.Rows
			return err
		}
		c.limit = max(1, len(c.read))
	}
}

// Reset removes all rows, before they are read once more.
func (c *chunk) Reset() {
	c.read, c.keys = c.read[:0], c.keys[:0]
	c.unit.Reset()
}

// Add appends a row, or returns errChunkFull.
func (c *chunk) Add(row *binlog.Row) error {
	if len(c.read) > 0 && c.unit.Size()+len(c.keys) > 2*c.bytes {
		return errChunkFull
	}
	var err error
	if c.keys, err = c.plan.AppendRowKey(c.keys, row); err != nil {
		return err
	}
	if c.compare {
		err = c.plan.Expect(row, func(e transform.Expectation) error {
			c.unit.Bytes = e.AppendTo(c.unit.Bytes)
			return nil
		})
	} else {
		change := binlog.Change{Table: c.plan.Table(), Op: binlog.Insert, After: row}
		origin := transform.Origin{Load: true, Now: c.now * 1000}
		err = c.plan.Append(&c.unit, &change, transform.FullRow, origin)
	}
	if err != nil {
		return err
	}
	c.read = append(c.read, readRow{len(c.keys), c.unit.Mark()})
	return nil
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

// eachKey iterates over the keys of the chunk's rows.
func (c *chunk) eachKey(yield func(key []byte) bool) {
	from := 0
	for _, row := range c.read {
		if !yield(c.keys[from:row.keyEnd]) {
			return
		}
		from = row.keyEnd
	}
}

// retry schedules a chunk whose dirty keys overflowed to be read again, between the same bounds.
// This time the rows are known beforehand, and only their keys are recorded. So the chunk cannot
// overflow twice, and the job progresses however much is written.
//
// A row that is in the chunk only now was written after F. The stream has sent that row, or will
// before H, so it counts as dirty.
func (c *chunk) retry(*Engine) bool {
	if !c.dirty.overflowed || len(c.read) == 0 {
		return false
	}
	again := &chunk{after: c.after, until: c.result.Last, limit: len(c.read)}
	again.dirty.restrictTo(c.eachKey)
	c.table.repeat, c.table.nextRows = again, 0
	return true
}

// nextLimit returns the limit of the chunk after this one: at most twice this chunk's limit, since
// larger rows may follow.
func (c *chunk) nextLimit(most int) int {
	if len(c.read) == 0 {
		return min(firstChunkRows, most)
	}
	size := (c.unit.Size()+len(c.keys))/len(c.read) + 1
	return max(1, min(most, c.bytes/size, 2*c.limit))
}

// apply writes the clean rows of a chunk in units. The last unit carries the finished range.
func (c *chunk) apply(ctx context.Context, e *Engine) error {
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	inUnit, key := 0, 0
	var from transform.Mark
	for i, row := range c.read {
		if !c.dirty.contains(c.keys[key:row.keyEnd]) {
			if err := c.writeRow(ctx, e, from, row.end, i == len(c.read)-1); err != nil {
				return err
			}
			inUnit++
		}
		from, key = row.end, row.keyEnd
		if c.isOneUnit() {
			continue
		}
		flushed, err := e.host.FlushIfLarge(ctx, inUnit, unitRows)
		if err != nil {
			return err
		}
		if flushed {
			inUnit = 0
		}
	}
	return c.save(ctx, e)
}

// writeRow puts the row between two marks of the chunk's unit into the host's unit. isLast means
// that the chunk's unit is not needed afterwards.
func (c *chunk) writeRow(
	ctx context.Context, e *Engine, from, to transform.Mark, isLast bool,
) error {
	u := e.host.Commands()
	const huge = 16 << 20
	switch size := to.Bytes - from.Bytes; {
	case c.compare:
		return repair(ctx, e, c.unit.Bytes[from.Bytes:to.Bytes:to.Bytes])
	case isLast && size > huge:
		u.MoveRange(&c.unit, from, to)
	default:
		u.AppendRange(&c.unit, from, to)
	}
	return nil
}

// save records the finished range, and begins the sweep or ends the job after the last range.
func (c *chunk) save(ctx context.Context, e *Engine) error {
	t := c.table
	t.Job.Rows += int64(len(c.read))
	t.Job.After = c.result.Last
	t.nextRows = c.nextLimit(e.config.ChunkRows)
	if c.result.Done {
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
	e.keepBuffers(c)
	if c.result.Done {
		e.log.Info().Str("table", t.FullName()).Int64("rows", t.Job.Rows).Msg("table read")
	}
	return nil
}
