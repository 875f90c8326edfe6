package jobs

import (
	"context"
	"errors"
	"slices"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/transform"
)

// scan reads every row of a table without a key with one SELECT, in no order, as of one moment S.
// Pages would cost a scan of the table each.
//
// The fence is read after the snapshot of S was opened. When the stream has passed the fence, the
// loop writes the rows batch by batch, while the worker reads further ones. The worker waits for
// the loop, so that three batches exist at most. A job that is interrupted begins again with the
// first row, because there is no key to continue after.
//
// A row is dirty if the stream has changed it since F, the position of the request. Dirty keys are
// kept until the last row is written. When the stream has passed the fence, inserted rows are not
// recorded any more: S does not have them. So a table to which rows are only added needs little
// memory. If the dirty keys overflow, the table is read in pages.
type scan struct {
	taskBase
	plan    *transform.Plan // a clone for the worker
	compare bool
	// hasLetters is that of the batches.
	hasLetters bool

	limit int // rows of a batch
	bytes int // memory of a batch
	// dirtyBytes is Config.DirtyKeyBytes.
	dirtyBytes int
	wake       func()
	now        func() int64 // see Host

	// full passes batches to the loop, and empty passes them back. The loop closes stop.
	full, empty chan *scanBatch
	stop        chan struct{}

	// current is the batch that the worker fills. When the worker has finished, it is the last one.
	current *scanBatch
	// impossible is set by the worker if the server cannot be scanned. mustRepeat is set if the
	// SELECT has failed after a batch was passed to the loop.
	impossible, mustRepeat bool
	// isHandedOver is set by the worker when it has passed a batch to the loop.
	isHandedOver bool

	// These belong to the loop. next is a batch that was received and not written yet.
	dirty     dirtyKeys
	key       []byte
	next      *scanBatch
	isStopped bool
	// isPassed is set when the stream has passed the fence.
	isPassed bool
}

// scanBatch is a part of the rows of a scan. isFirst is set for the first one after the snapshot
// was opened.
type scanBatch struct {
	rowBuffer
	fence   binlog.Position
	isFirst bool
}

// errScanStopped ends the SELECT of a scan whose rows are not needed.
var errScanStopped = errors.New("scan was stopped")

// mustScan reports whether a table's rows are read by a scan. Pages that a former version has begun
// are continued. Rows that are added to a list or a stream are read in pages, because a scan that
// begins again would add them twice.
func (t *Table) mustScan() bool {
	return len(t.Schema.Key()) == 0 && t.Job.After == nil && t.ranges == nil && !t.isPaged &&
		(t.Job.Compare || !t.Plan.ActsOnLoad())
}

// nextScan returns the scan of a table.
func (e *Engine) nextScan(t *Table) *scan {
	return &scan{
		plan: t.Plan.Clone(), compare: t.Job.Compare, hasLetters: !t.Letters.IsEmpty(),
		limit: e.config.ChunkRows, bytes: e.chunkShare() * 2 / 3,
		dirtyBytes: e.config.DirtyKeyBytes, wake: e.host.Wake, now: e.host.Now,
		full: make(chan *scanBatch, 1), empty: make(chan *scanBatch, 2),
		stop: make(chan struct{}),
	}
}

// run reads the rows, and passes all batches but the last one to the loop.
func (s *scan) run(ctx context.Context, rows RowReader) error {
	err := rows.ScanRows(ctx, query.ScanRequest{Table: s.plan.Table()}, s.from, s)
	switch {
	case errors.Is(err, query.ErrNoSnapshot):
		s.impossible = true
		return nil
	case errors.Is(err, errScanStopped):
		return nil // retry reports why, or the loop has discarded the task
	}
	return err
}

// Reset implements Collector.
func (s *scan) Reset() { s.current = nil }

// Begin implements Scanner. A second snapshot needs another task if the loop may know the fence of
// the first.
func (s *scan) Begin(fence binlog.Position) error {
	if s.isHandedOver {
		s.mustRepeat = true
		return errScanStopped
	}
	s.fence = fence
	s.current = s.emptyBatch()
	s.current.isFirst = true
	return nil
}

// Add implements Collector.
func (s *scan) Add(row *binlog.Row) error {
	select {
	case <-s.stop:
		return errScanStopped
	default:
		return s.current.add(row)
	}
}

// IsFull implements Scanner.
func (s *scan) IsFull() bool {
	return len(s.current.read) >= s.limit || s.current.size() > s.bytes
}

// HandOver implements Scanner. It waits until the loop has taken the batch before this one.
func (s *scan) HandOver(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stop:
		return errScanStopped
	case s.full <- s.current:
	}
	s.isHandedOver = true
	s.wake()
	s.current = s.emptyBatch()
	return nil
}

// emptyBatch returns a batch without rows, in the buffers of a batch that was written if there is
// one.
func (s *scan) emptyBatch() *scanBatch {
	b := new(scanBatch)
	select {
	case b = <-s.empty:
		b.reset()
	default:
	}
	b.plan, b.compare, b.hasLetters = s.plan, s.compare, s.hasLetters
	b.now, b.fence, b.isFirst = s.now, s.fence, false
	return b
}

// markDirty records the keys of a change.
func (s *scan) markDirty(change *binlog.Change) error {
	if s.dirty.overflowed || s.discarded {
		return nil
	}
	images := []*binlog.Row{change.Before, change.After}
	if s.isPassed {
		images = images[:1]
	}
	for _, row := range images {
		if row == nil {
			continue
		}
		var err error
		if s.key, err = s.table.Plan.AppendRowKey(s.key[:0], row); err != nil {
			return err
		}
		s.dirty.add(s.key)
	}
	if s.dirty.size > s.dirtyBytes {
		s.dirty.overflow()
	}
	return nil
}

// retry repeats a scan whose SELECT has failed, or makes the job read pages if the scan is not
// possible.
func (s *scan) retry(e *Engine) bool {
	if !s.impossible && !s.mustRepeat && !s.dirty.overflowed {
		return false
	}
	t := s.table
	t.isPaged, t.Job.Rows = s.impossible || s.dirty.overflowed, 0
	e.count(t)
	if s.dirty.overflowed {
		e.log.Warn().Str("table", t.FullName()).
			Msg("too many rows of a table without a key changed while the table was read by one " +
				"SELECT; it is read in pages, each of which costs a scan of the table")
	}
	return true
}

// apply writes the last batches, and ends the reading of rows.
func (s *scan) apply(ctx context.Context, e *Engine) error {
	for b := s.receive(); b != nil; b = s.receive() {
		s.next = nil
		if err := s.write(ctx, e, b); err != nil || s.table.Fault != nil {
			return err
		}
	}
	if err := s.write(ctx, e, s.current); err != nil || s.table.Fault != nil {
		return err
	}
	return e.saveRead(ctx, s.table, true)
}

// receive returns the batch that is written next; nil if the worker has not passed it yet.
func (s *scan) receive() *scanBatch {
	if s.next == nil {
		select {
		case s.next = <-s.full:
		default:
		}
	}
	return s.next
}

// write writes a batch. The stream has passed its fence.
func (s *scan) write(ctx context.Context, e *Engine, b *scanBatch) error {
	t := s.table
	if b.isFirst {
		t.Job.Rows = 0
	}
	if err := b.write(ctx, e, t, &s.dirty); err != nil || t.Fault != nil {
		return errors.Join(err, e.host.Flush(ctx))
	}
	t.Job.Rows += int64(len(b.read))
	if err := e.saveRead(ctx, t, false); err != nil {
		return err
	}
	select {
	case s.empty <- b:
	default:
	}
	return nil
}

// stepScans writes batches of the scans that run, and stops those whose rows are not needed. It
// returns how long to wait before the next call; 0 if no scan waits for the limiter.
func (e *Engine) stepScans(ctx context.Context, now time.Time) (time.Duration, error) {
	isPaused := len(e.scans) > 0 && e.isPaused()
	for _, s := range e.scans {
		if s.discarded || s.dirty.overflowed {
			if !s.isStopped {
				s.isStopped = true
				close(s.stop)
			}
			continue
		}
		if isPaused {
			continue // the throttle wakes the loop
		}
		b := s.receive()
		if b == nil || !e.hasPassed(&b.fence) {
			continue
		}
		s.isPassed = true
		if wait := e.limiter.delay(now); wait > 0 {
			return wait, nil
		}
		e.limiter.acquire(now, len(b.read))
		s.next = nil
		if err := e.faultOf(s.table, s.write(ctx, e, b)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// forgetScan removes the scan of a task that has ended.
func (e *Engine) forgetScan(b *taskBase) {
	e.scans = slices.DeleteFunc(e.scans, func(s *scan) bool { return &s.taskBase == b })
}
