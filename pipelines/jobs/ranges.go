package jobs

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
)

// A large table is read in several ranges of its key at a time, if workers are idle. The chunks of
// a range follow each other; chunks of different ranges are independent. A table begins as one
// range. While there are fewer ranges than workers, an idle worker divides the widest range in the
// middle of the values that the first key column has left. The middle is computed, so that column
// must be an integer. The rows may lie anywhere between the values: if a half turns out to be
// empty, the other one is divided again. Otherwise an idle worker reads ahead: it reads the next
// chunk of a range while the range's chunk before waits for its fence or is applied. Both are
// applied in order. If it cannot read ahead, it divides a range all the same.

// splitChunks is the number of chunks that a table must have left, by the estimate of its rows, so
// that one of its ranges is divided.
const splitChunks = 10

// keyRange is a part of a table that is left to read. The loop owns it.
type keyRange struct {
	tablestate.Range
	// repeat is a chunk that must be read again; nil continues after Range.After, with nextRows as
	// the chunk's limit unless that is 0.
	repeat   *chunk
	nextRows int
	// readTo is the last row of the last chunk that was read; nil if unknown.
	readTo [][]byte
	// maximum is the largest value of the first key column at the time of a SELECT; nil if it was
	// not read, or if Until is set. Rows with larger values that were added later belong to the
	// range, too.
	maximum []byte
}

// openRanges returns the ranges that are left to read. There is at least one.
func (t *Table) openRanges() []*keyRange {
	if t.ranges != nil {
		return t.ranges
	}
	for _, r := range t.Job.Ranges {
		t.ranges = append(t.ranges, &keyRange{Range: r})
	}
	if t.ranges == nil {
		t.ranges = []*keyRange{{Range: tablestate.Range{After: t.Job.After}}}
	}
	return t.ranges
}

// advance records that the rows of a chunk were read, and removes its range if no row is left.
func (t *Table) advance(r *keyRange, result *query.ChunkResult) {
	r.After = result.Last
	if result.Done || r.endsAt(t.Schema, result.Last) {
		t.ranges = slices.DeleteFunc(t.ranges, func(other *keyRange) bool { return other == r })
	}
	t.Job.Ranges = nil
	switch {
	case len(t.ranges) == 0:
		t.Job.After = result.Last
		return
	// A version without ranges rejects a key that lacks columns, so After stays where it is.
	case len(t.ranges[0].After) == len(t.Schema.Key()) || len(t.Schema.Key()) == 0:
		t.Job.After = t.ranges[0].After
		if len(t.ranges) == 1 && t.ranges[0].Until == nil {
			return
		}
	}
	for _, r := range t.ranges {
		t.Job.Ranges = append(t.Job.Ranges, r.Range)
	}
}

// endsAt reports whether the range has no rows after a key that was read. A chunk that was
// requested before its range was divided may end beyond the range.
func (r *keyRange) endsAt(table *binlog.Table, last [][]byte) bool {
	if r.Until == nil || last == nil {
		return false
	}
	if slices.EqualFunc(last, r.Until, bytes.Equal) {
		return true
	}
	column := firstKeyColumn(table)
	at, ok := ordinal(column, last[0])
	until, known := ordinal(column, r.Until[0])
	return ok && known && at > until
}

// width returns the first and the last value that the first key column can have in the rows of the
// range that were not read. It returns them as ordinals, if they are known and the range can be
// divided between them.
func (r *keyRange) width(column *binlog.Column) (from, to uint64, ok bool) {
	end := r.maximum
	if r.Until != nil {
		end = r.Until[0]
	}
	after := r.After
	if r.readTo != nil {
		after = r.readTo
	}
	if after == nil || end == nil {
		return 0, 0, false
	}
	from, isFrom := ordinal(column, after[0])
	to, isTo := ordinal(column, end)
	return from, to, isFrom && isTo && to > from && to-from >= 2
}

// requestRanges requests chunks of further ranges of tables in flight, if workers are idle. It
// returns how long the limiter makes it wait; 0 if it does not.
func (e *Engine) requestRanges(now time.Time) time.Duration {
	for e.hasIdleWorker() {
		t, r := e.idleRange(now)
		if t == nil {
			return 0
		}
		if wait := e.limiter.delay(now); wait > 0 {
			return wait
		}
		e.begin(t, e.nextChunk(t, r), now)
	}
	return 0
}

// idleRange returns a table in flight, and a range of it whose next chunk can be read. The first
// choice is a range that has no task. The others are in the order described above.
func (e *Engine) idleRange(now time.Time) (*Table, *keyRange) {
	ranges := 0
	for _, t := range e.running {
		if !t.hasJob() || t.pausedUntil.After(now) {
			continue
		}
		ranges += len(t.ranges)
		for _, r := range t.ranges {
			if first, _ := t.chunksOf(r); first == nil {
				return t, r
			}
		}
	}
	if ranges < e.config.Parallel {
		if t, r := e.splitOne(now); r != nil {
			return t, r
		}
	}
	for _, t := range e.pending {
		c, ok := t.(*chunk)
		if ok && c.canReadAhead() && !c.table.pausedUntil.After(now) {
			return c.table, c.of
		}
	}
	return e.splitOne(now)
}

// splitOne divides a range of the first table in flight that has one to divide.
func (e *Engine) splitOne(now time.Time) (*Table, *keyRange) {
	for _, t := range e.running {
		if !t.hasJob() || t.pausedUntil.After(now) {
			continue
		}
		if r := e.split(t); r != nil {
			return t, r
		}
	}
	return nil, nil
}

// chunksOf returns the chunks of a range that are in flight or wait to be applied, in the order of
// their rows. There are two at most.
func (t *Table) chunksOf(r *keyRange) (first, second *chunk) {
	for _, other := range t.tasks {
		c, ok := other.(*chunk)
		switch {
		case !ok || c.of != r:
		case first == nil:
			first = c
		default:
			second = c
		}
	}
	return first, second
}

// canReadAhead reports whether the next chunk of c's range may be read although c, which was read,
// is not applied yet. The next chunk stays valid, because c will not be read again: the dirty keys
// of a chunk that was read cannot overflow.
func (c *chunk) canReadAhead() bool {
	if c.discarded || !c.table.hasJob() || c.dirty.overflowed {
		return false
	}
	if _, second := c.table.chunksOf(c.of); second != nil {
		return false
	}
	return !c.isAtEnd() && !c.of.endsAt(c.table.Schema, c.result.Last)
}

// isFirst reports whether the chunks of the range before c are applied.
func (c *chunk) isFirst() bool {
	first, _ := c.table.chunksOf(c.of)
	return first == c
}

// split divides the widest range of a table in two, and returns the second one; nil if no range can
// be divided. The first one may have a task: what its chunk reads beyond the middle is written, and
// is read again.
func (e *Engine) split(t *Table) *keyRange {
	column := firstKeyColumn(t.Schema)
	widest, from, to := -1, uint64(0), uint64(0)
	for i, r := range t.ranges {
		first, last, ok := r.width(column)
		if ok && last-first > to-from {
			widest, from, to = i, first, last
		}
	}
	if widest < 0 || !e.isWorthSplitting(t, t.ranges[widest]) {
		return nil
	}
	r := t.ranges[widest]
	// In a key of one column each row has another value, so the width limits the number of rows.
	if len(t.Schema.Key()) == 1 && to-from < uint64(e.rowsToSplit(r)) {
		return nil
	}
	middle := [][]byte{appendOrdinal(nil, column, from+(to-from)/2)}
	second := &keyRange{
		Range:    tablestate.Range{After: middle, Until: r.Until},
		nextRows: r.nextRows, maximum: r.maximum,
	}
	r.Until, r.maximum = middle, nil
	t.ranges = slices.Insert(t.ranges, widest+1, second)
	return second
}

// isWorthSplitting reports whether a range of a table may be divided, and enough rows are left.
// Entries of lists and streams are added in the order of the key, so they need one range.
func (e *Engine) isWorthSplitting(t *Table, r *keyRange) bool {
	column := firstKeyColumn(t.Schema)
	return e.config.Parallel > 1 && column != nil && column.Type.IsInteger() &&
		(t.Job.Compare || !t.Plan.ActsOnLoad()) &&
		t.Expected()-t.Job.Rows >= int64(e.rowsToSplit(r))
}

// rowsToSplit returns the number of rows that a table must have left so that a range is divided.
func (e *Engine) rowsToSplit(r *keyRange) int {
	rows := e.config.ChunkRows
	if r.nextRows > 0 {
		rows = r.nextRows
	}
	return e.splitChunks * rows
}

// firstKeyColumn returns the first column of a table's key; nil if the table has no key.
func firstKeyColumn(table *binlog.Table) *binlog.Column {
	if table == nil || len(table.Key()) == 0 {
		return nil
	}
	return &table.Columns[table.Key()[0]]
}

// signBit makes the ordinals of signed numbers ascend.
const signBit = 1 << 63

// ordinal returns the number of values of a column's type that are smaller than an integer. It
// returns false for columns that are no integers, and for other texts.
func ordinal(c *binlog.Column, text []byte) (uint64, bool) {
	switch {
	case c == nil || !c.Type.IsInteger():
		return 0, false
	case c.Unsigned:
		n, err := strconv.ParseUint(string(text), 10, 64)
		return n, err == nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return uint64(n) ^ signBit, err == nil
}

// appendOrdinal appends the text of the integer whose ordinal is n.
func appendOrdinal(dst []byte, c *binlog.Column, n uint64) []byte {
	if c.Unsigned {
		return strconv.AppendUint(dst, n, 10)
	}
	return strconv.AppendInt(dst, int64(n^signBit), 10)
}
