package jobs

import (
	"bytes"
	"slices"
	"time"

	"rowfall/binlog"
)

// A chunk waits until the stream has passed its fence, which is the end of the binlog at the time
// of the SELECT. So each chunk waits for as long as the stream lags behind. If the stream lags by
// 10 s, two workers with chunks of 10,000 rows would read 2,000 rows per second, however fast the
// SELECTs are; and if the source writes faster than the stream applies, each chunk would wait
// longer than the one before.
//
// The worker of a chunk that waits is idle. So it reads the rows that follow, and these rows join
// the chunk: they have the same F and the same dirty keys, and H of the last SELECT is after H of
// the SELECTs before. That ends when the stream has passed H of the first SELECT, so a chunk waits
// for twice the lag at most. It also ends when the chunk has its share of Config.ChunkBytes.
//
// If the next chunk of the range was read ahead, only that next chunk is extended.

// extension is the state of the SELECTs that extend a chunk.
type extension struct {
	first      [][]byte        // chunk.after of the first SELECT
	firstFence binlog.Position // H of the first SELECT
	kept       int             // the rows that were read before the current SELECT
	more       int             // the rows that an extension reads, in one SELECT or several
	// isFull means that an extension has failed, and the chunk is not extended again.
	isFull bool
}

// isExtended reports whether the current SELECT is not the first one of the chunk.
func (x *extension) isExtended() bool { return x.kept > 0 }

// received records what a SELECT has read. most is Config.ChunkRows. The loop calls it.
func (c *chunk) received(most int) {
	if !c.isExtended() {
		c.firstFence = c.fence
	}
	c.of.nextRows = c.nextLimit(most)
	if c.findMaximum {
		c.of.maximum = c.result.Maximum
	}
	c.of.readTo = c.result.Last
}

// undoExtension removes the rows of the current SELECT. The rows of the SELECTs before, and their
// fence, stay.
func (c *chunk) undoExtension() {
	c.truncate(c.kept)
	c.isFull = true
}

// isAtOrAfter reports whether a fence is not before another one. GTIDs of different replicas may be
// neither.
func isAtOrAfter(fence, other *binlog.Position) bool {
	switch {
	case (fence.File == "") != (other.File == ""):
		return false
	case fence.File == "":
		return fence.GTID.Contains(other.GTID)
	}
	return fence.CompareFile(*other) >= 0
}

// extendChunks requests further rows for each chunk that waits for its fence, if possible. The
// workers are idle: each of these chunks counts as a task in flight. A chunk that the limiter does
// not allow to be extended now is extended later or not at all.
func (e *Engine) extendChunks(now time.Time) {
	e.pending = slices.DeleteFunc(e.pending, func(t task) bool {
		c, ok := t.(*chunk)
		if !ok || e.limiter.delay(now) > 0 || !e.canExtend(c) {
			return false
		}
		e.extend(c)
		e.limiter.acquire(now, c.reserved)
		e.requests <- c // never blocks: the channel has a slot for each task in flight
		return true
	})
}

// extend prepares a chunk for its next SELECTs, which double its rows: a stream that lags may apply
// large units, and the chunk can be extended again only between two units. With a limiter or a
// throttle there is only one SELECT, because they decide before each SELECT.
func (e *Engine) extend(c *chunk) {
	c.after, c.until, c.findMaximum = c.result.Last, c.of.Until, false
	c.limit = min(c.nextLimit(e.config.ChunkRows), len(c.read))
	c.kept, c.more = len(c.read), len(c.read)
	if e.limiter.perSecond > 0 || e.config.Throttle != nil {
		c.more = c.limit
	}
	c.rows, c.reserved = 0, c.more
	c.done.Store(false)
}

// canExtend reports whether rows may be added to a chunk that waits for its fence.
func (e *Engine) canExtend(c *chunk) bool {
	switch {
	case c.discarded || !c.table.hasJob() || c.isFull || c.isOneUnit():
		return false
	case c.dirty.overflowed || c.dirty.clean != nil: // the changes of further rows are unknown
		return false
	case len(c.read) == 0 || e.hasPassed(&c.firstFence):
		return false
	}
	if _, second := c.table.chunksOf(c.of); second != nil && second != c {
		return false // the second chunk has the rows that follow
	}
	if c.of.repeat != nil {
		return false // the second chunk is read again, and has these rows then
	}
	return !c.isAtEnd() && !c.of.endsAt(c.table.Schema, c.result.Last) && c.hasRoom()
}

// isAtEnd reports whether no row is left up to chunk.until.
func (c *chunk) isAtEnd() bool {
	return c.result.Done || c.until != nil && slices.EqualFunc(c.result.Last, c.until, bytes.Equal)
}

// hasRoom reports whether the rows of a further SELECT fit into the chunk, and the keys of all its
// rows into the memory of the dirty keys.
func (c *chunk) hasRoom() bool {
	rows := len(c.read) + c.limit
	return rows*(c.size()/len(c.read)+1) <= c.bytes &&
		rows*(len(c.keys)/len(c.read)+dirtyKeyCost) <= c.dirtyBytes
}
