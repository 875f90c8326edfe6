package jobs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/sink"
)

const (
	// unitRows limits the rows of one unit of a job, so that rows of the stream do not wait long.
	unitRows = 500
)

// Config bounds what jobs cost the source and the process.
type Config struct {
	// Parallel is the number of SELECTs at a time, 1 or more. A table has several only if no other
	// table waits, and the table can be split into ranges.
	Parallel int
	// ChunkRows is the largest number of rows of one SELECT.
	ChunkRows int
	// RowsPerSecond limits the rows that all jobs read; 0 does not.
	RowsPerSecond int
	// ChunkBytes is the memory that all chunks that are read or applied should use together; 0 is
	// 32 MiB. A chunk's limit of rows follows from the size of the last chunk's rows. A chunk that
	// exceeds twice its share is cut short.
	ChunkBytes int
	// DirtyKeyBytes limits the memory of the keys that one statement may change while a chunk of
	// the table is read; 0 is 8 MiB.
	DirtyKeyBytes int
	// Throttle pauses the jobs while servers are too busy; nil never does.
	Throttle Throttle
}

// Engine runs the jobs of a pipeline's tables beside the stream. The goroutine of the loop calls
// its methods. The SELECTs run in workers, which exist while there is work, and end with Close.
type Engine struct {
	host   Host
	source RowSource
	config Config
	log    zerolog.Logger

	waiting  []*Table // tables with a job and without a task
	running  []*Table // tables with tasks
	requests chan task
	results  chan task
	pending  []task  // their results have arrived; they wait for the stream to pass their fence
	scans    []*scan // the tasks in flight or pending that are scans
	active   int     // tasks in flight or pending
	// ready is how many pending tasks are about to be applied. They occupy no worker.
	ready    int
	repeated int // tasks that were repeated
	limiter  rateLimiter
	// logged is when report wrote the last line, and loggedRows is what rows was then.
	logged     time.Time
	loggedRows int64
	// tracked counts the keys that all tables keep in memory, see keySet.pending and handled.
	tracked int
	// tableTasks counts the tasks in flight or pending that do not belong to keys jobs.
	tableTasks int

	// buffers are those of applied chunks, for the next ones.
	buffers []chunkBuffers

	// rows counts the rows of applied tasks. remaining estimates how many are left to read.
	rows, remaining int64

	// These have the values of the constants of the same names. Tests change them.
	sweepLocations, blockKeys, maxSetKeys, splitChunks int

	cancel    context.CancelFunc // nil: no workers
	done      sync.WaitGroup
	wakeTimer *time.Timer // wakes the loop when the limiter allows the next task
}

// New returns an engine without jobs.
func New(host Host, source RowSource, c Config, log zerolog.Logger) *Engine {
	if c.ChunkBytes == 0 {
		c.ChunkBytes = 32 << 20
	}
	if c.DirtyKeyBytes == 0 {
		c.DirtyKeyBytes = 8 << 20
	}
	return &Engine{
		host: host, source: source, config: c, log: log,
		requests: make(chan task, 2*c.Parallel), results: make(chan task, 2*c.Parallel),
		limiter: rateLimiter{perSecond: c.RowsPerSecond},
		logged:  time.Now(),

		sweepLocations: sweepLocations, blockKeys: blockKeys, maxSetKeys: maxSetKeys,
		splitChunks: splitChunks,
	}
}

// Add makes the engine run the jobs of tables that are not done, and estimates their sizes. Tables
// that it knows already, and tables without a job, are ignored.
func (e *Engine) Add(ctx context.Context, tables ...*Table) {
	var added []*Table
	var schemas []*binlog.Table
	for _, t := range tables {
		if !e.enqueue(t) {
			continue
		}
		if t.Schema != nil && t.hasJob() {
			added, schemas = append(added, t), append(schemas, t.Schema)
		}
	}
	if len(schemas) == 0 {
		return
	}
	estimates, err := e.source.EstimateRows(ctx, schemas)
	if err != nil {
		e.log.Warn().Err(err).Msg("the number of rows to read is unknown")
	}
	for i, n := range estimates {
		added[i].Estimate = n
	}
	for _, t := range added {
		e.count(t)
	}
	e.host.Report(e.rows, e.rows+e.remaining)
}

// enqueue adds a table to the waiting tables. It returns false if the table waits already or has no
// work.
func (e *Engine) enqueue(t *Table) bool {
	if t.queued || !t.hasWork() {
		return false
	}
	t.queued = true
	e.waiting = append(e.waiting, t)
	return true
}

// count updates rows and remaining after a table's Job has changed.
func (e *Engine) count(t *Table) {
	remaining := int64(0)
	if t.hasJob() {
		remaining = t.Expected() - t.Job.Rows
	}
	e.rows += t.Job.Rows - t.counted
	e.remaining += remaining - t.remaining
	t.counted, t.remaining = t.Job.Rows, remaining
}

// hasWork reports whether there is something to do for a table now.
func (t *Table) hasWork() bool { return t.hasJob() || t.hasKeys() }

// hasJob reports whether there is something to do for a table's Job now.
func (t *Table) hasJob() bool {
	if t.Fault != nil || t.Job.Done || t.Job.Skipped {
		return false
	}
	s := t.Job.Sweep
	return (t.Plan != nil || t.Job.NeedsSchema) && (s == nil || !s.Waiting || s.Confirmed)
}

// IsIdle reports whether no job is running or waiting for a turn.
func (e *Engine) IsIdle() bool { return len(e.waiting) == 0 && e.active == 0 }

// IsReadingTables reports whether a job other than a keys job is running or waiting for a turn.
func (e *Engine) IsReadingTables() bool {
	return e.tableTasks > 0 || slices.ContainsFunc(e.waiting, (*Table).hasJob)
}

// Close ends the workers and waits for them. e may be nil.
func (e *Engine) Close() {
	if e == nil || e.cancel == nil {
		return
	}
	e.cancel()
	if e.wakeTimer != nil {
		e.wakeTimer.Stop() // a wake under way meets a closed stream at worst
	}
	e.done.Wait()
	e.cancel, e.buffers = nil, nil
}

// start starts the workers. They wake the loop after each result.
func (e *Engine) start(ctx context.Context) {
	ctx, e.cancel = context.WithCancel(ctx)
	e.logged, e.loggedRows = time.Now(), e.rows
	for range e.config.Parallel {
		e.done.Go(func() { e.work(ctx) })
	}
	if e.config.Throttle != nil {
		e.done.Go(func() { e.config.Throttle.Watch(ctx, e.host.Wake) })
	}
}

// work is a worker: it runs tasks until ctx ends. An error becomes the task's.
func (e *Engine) work(ctx context.Context) {
	rows := e.source.OpenRows()
	defer rows.Close()
	for {
		var t task
		select {
		case <-ctx.Done():
			return
		case t = <-e.requests:
		}
		b := t.base()
		b.err = t.run(ctx, rows)
		b.done.Store(true)
		e.results <- t // never blocks: the channel has a slot for each task in flight
		e.host.Wake()
	}
}

// Step is called between transactions. It receives results, applies those whose fence the stream
// has passed, and requests further ones.
func (e *Engine) Step(ctx context.Context) error {
	if e.IsIdle() {
		e.Close()
		return nil
	}
	if e.cancel == nil {
		e.start(ctx)
	}
	if err := e.receive(); err != nil {
		return err
	}
	waitScan, err := e.stepScans(ctx, time.Now())
	if err != nil {
		return err
	}
	if err := e.requestBesides(ctx); err != nil {
		return err
	}
	if err := e.applyPassed(ctx); err != nil {
		return err
	}
	wait, err := e.request(ctx, time.Now())
	if err != nil {
		return err
	}
	if waitScan > 0 && (wait == 0 || waitScan < wait) {
		wait = waitScan
	}
	if wait > 0 {
		if e.wakeTimer == nil {
			e.wakeTimer = time.AfterFunc(wait, e.host.Wake)
		}
		e.wakeTimer.Reset(wait)
	}
	e.report()
	return nil
}

// requestBesides requests what the workers read while the loop applies the pending tasks that have
// passed their fences.
func (e *Engine) requestBesides(ctx context.Context) error {
	for _, t := range e.pending {
		if e.hasPassed(&t.base().fence) && isNext(t) {
			e.ready++
		}
	}
	if e.ready == 0 {
		return nil
	}
	_, err := e.request(ctx, time.Now())
	e.ready = 0
	return err
}

// hasIdleWorker reports whether a task that is requested now would be run at once.
func (e *Engine) hasIdleWorker() bool { return e.active-e.ready < e.config.Parallel }

// chunkShare returns the part of Config.ChunkBytes that one task may use. Up to Config.Parallel
// tasks are read while as many are applied.
func (e *Engine) chunkShare() int { return e.config.ChunkBytes / (2 * e.config.Parallel) }

// receive moves the tasks whose results have arrived to pending.
func (e *Engine) receive() error {
	for len(e.results) > 0 {
		t := <-e.results
		b := t.base()
		e.limiter.release(b.reserved - b.rows)
		switch {
		case b.discarded:
			e.finish(b)
		case IsGone(b.err):
			b.table.rewind()
			b.table.pause(time.Now())
			e.log.Warn().Err(b.err).Str("table", b.table.FullName()).
				Msg("a job waits and is retried: the table or a column is gone from the server " +
					"or was altered, and the stream will reach the statement; " +
					"or SELECT was revoked: grant it")
			e.finish(b)
		case b.err != nil:
			if err := e.host.Fault(b.table, b.err); err != nil {
				return err
			}
			e.finish(b)
		default:
			if c, ok := t.(*chunk); ok {
				c.received(e.config.ChunkRows)
			}
			e.pending = append(e.pending, t)
		}
	}
	return nil
}

// IsGone reports whether a SELECT failed because the server no longer has the table or one of its
// columns, because the table was altered after a snapshot was opened, or because SELECT was
// revoked. Except in the last case, the stream will show the statement.
func IsGone(err error) bool {
	return mysql.IsCode(err, mysql.CodeNoSuchTable) || mysql.IsCode(err, mysql.CodeBadDatabase) ||
		mysql.IsCode(err, mysql.CodeUnknownColumn) || mysql.IsCode(err, mysql.CodeTableDenied) ||
		mysql.IsCode(err, mysql.CodeTableChanged)
}

// applyPassed applies the results whose fence the stream has passed.
func (e *Engine) applyPassed(ctx context.Context) error {
	keep := e.pending[:0]
	for _, t := range e.pending {
		b := t.base()
		switch {
		case b.discarded:
			e.finish(b)
			continue
		case t.retry(e):
			e.repeated++
			e.finish(b)
			continue
		case !e.hasPassed(&b.fence) || !isNext(t):
			keep = append(keep, t)
			continue
		}
		if err := e.faultOf(b.table, t.apply(ctx, e)); err != nil {
			return err
		}
		b.table.pauses = 0
		e.finish(b)
	}
	clear(e.pending[len(keep):]) // so that applied tasks can be collected
	e.pending = keep
	return nil
}

// isNext reports whether a result may be applied now. A chunk must wait for the chunk before it in
// its range.
func isNext(t task) bool {
	c, ok := t.(*chunk)
	return !ok || c.isFirst()
}

// hasPassed reports whether the stream has passed a fence. It compares with the stream's position,
// not the data's: the fence may lie after events that are no transaction, and only the stream's
// position includes them.
func (e *Engine) hasPassed(fence *binlog.Position) bool {
	at := e.host.Position()
	if fence.File == "" { // of a replica
		return at.GTID.Contains(fence.GTID)
	}
	return at.CompareFile(*fence) >= 0
}

// faultOf handles an error of writing what was read of a table. Is a key of another type in the
// way? That is a fault of the table; other faults of a table are found before.
func (e *Engine) faultOf(t *Table, err error) error {
	if errors.As(err, new(*sink.KeyTypeError)) {
		return e.host.Fault(t, err)
	}
	return err
}

// finish ends a task of a table. After its last task, the table waits for its next turn, unless its
// jobs are done.
func (e *Engine) finish(b *taskBase) {
	t := b.table
	e.active--
	if !b.ofKeys {
		e.tableTasks--
	}
	t.tasks = slices.DeleteFunc(t.tasks, func(other task) bool { return other.base() == b })
	e.forgetScan(b)
	if len(t.tasks) > 0 {
		return
	}
	e.running = slices.DeleteFunc(e.running, func(other *Table) bool { return other == t })
	if t.hasWork() {
		e.waiting = append(e.waiting, t)
	} else {
		e.forget(t)
	}
}

// forget removes t from the engine, until Add adds it again.
func (e *Engine) forget(t *Table) {
	t.queued = false
	e.count(t)
}

// request requests a task for each free worker, with the stream's position as F. Tables without a
// task come first. If no such table is left, tables in flight are read in several ranges. A task
// that the limiter or the throttle does not allow yet is not requested, so that it does not collect
// dirty keys while it waits. request returns how long to wait before the next call; 0 if no table
// waits for time.
func (e *Engine) request(ctx context.Context, now time.Time) (time.Duration, error) {
	var soonest time.Duration
	if e.isPaused() {
		return 0, nil // the throttle wakes the loop
	}
	for turns := len(e.waiting); e.hasIdleWorker() && turns > 0; turns-- {
		t := e.waiting[0]
		if wait := t.pausedUntil.Sub(now); wait > 0 {
			e.waiting = append(e.waiting[1:], t)
			if soonest == 0 || wait < soonest {
				soonest = wait
			}
			continue
		}
		if !t.hasWork() { // it was cancelled, or is in quarantine
			e.waiting = e.waiting[1:]
			e.forget(t)
			continue
		}
		if wait := e.limiter.delay(now); wait > 0 {
			return wait, nil
		}
		next, err := e.nextTask(ctx, t)
		if errors.As(err, new(*UnreadableError)) {
			if err := e.host.Fault(t, err); err != nil {
				return 0, err
			}
			continue // the next request of the table ends its job
		}
		if err != nil {
			return 0, err
		}
		if next == nil { // the table has another job now, or none
			turns++
			continue
		}
		e.waiting, e.running = e.waiting[1:], append(e.running, t)
		e.begin(t, next, now)
	}
	if wait := e.requestRanges(now); wait > 0 && (soonest == 0 || wait < soonest) {
		soonest = wait
	}
	e.extendChunks(now)
	return soonest, nil
}

// begin passes a task of a table to a worker.
func (e *Engine) begin(t *Table, next task, now time.Time) {
	b := next.base()
	b.table, b.from = t, *e.host.Position()
	e.limiter.acquire(now, b.reserved)
	t.tasks = append(t.tasks, next)
	e.active++
	if !b.ofKeys {
		e.tableTasks++
	}
	if s, ok := next.(*scan); ok {
		e.scans = append(e.scans, s)
	}
	e.requests <- next // never blocks: the channel has a slot for each task in flight
}

// nextTask returns the next step of a table's job, or of its keys job if the former is done. It
// returns nil if the table has another job now.
func (e *Engine) nextTask(ctx context.Context, t *Table) (task, error) {
	switch {
	case !t.hasJob():
		return e.nextOfKeys(ctx, t)
	case t.Job.NeedsSchema:
		return &schemaTask{}, nil
	case t.Job.Sweep != nil && t.Job.Sweep.Reached:
		return e.nextSweep(ctx, t, false)
	}
	if err := query.CheckKey(t.Schema, Order(t.Schema, t.Plan)); err != nil {
		return nil, &UnreadableError{err}
	}
	if t.mustScan() {
		return e.nextScan(t), nil
	}
	return e.nextChunk(t, t.openRanges()[0]), nil
}
