package pipelines

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/transform"
)

const (
	// chunkUnitRows limits the rows of one unit of a chunk, so that rows of the stream do not wait
	// long.
	chunkUnitRows = 500
	// firstChunkRows limits a table's first chunk, which shows how large the rows are.
	firstChunkRows  = 1000
	loadLogInterval = 10 * time.Second
)

// chunkBytes is the memory that all chunks in flight should use together. A chunk's limit of rows
// follows from the size of the last chunk's rows. A chunk that exceeds twice its share is cut
// short. A variable for tests.
var chunkBytes = 32 << 20

// reconcilerLoop is what the reconciler needs of the loop that streams beside it; *loop implements
// it. Only wake may be called from another goroutine than the loop's.
type reconcilerLoop interface {
	// streamPosition returns where the stream stands. It changes with the next event.
	streamPosition() *binlog.Position
	// wake makes the loop call step soon, even if the source is idle.
	wake()
	// writeRows writes full rows of a table, in units of at most chunkUnitRows rows. Rows of the
	// last unit may wait until saveBackfill.
	writeRows(ctx context.Context, rows iter.Seq[rowCommands]) error
	// saveBackfill writes the load progress of a table, and all rows that wait.
	saveBackfill(ctx context.Context, t *mappedTable) error
	// reportLoad records how many rows are loaded, and how many are expected in the end.
	reportLoad(loaded, expected int64)
}

// rowCommands is a row to write: its commands, and their number. last means that the caller does
// not use the memory of bytes again, so that a huge row need not be copied.
type rowCommands struct {
	bytes []byte
	count int
	last  bool
}

// reconciler loads tables in chunks, while the stream continues. Its correctness rests on a bracket
// of two positions, F and H:
//
//   - F is the stream's position when the chunk is requested. The SELECT waits until everything up
//     to F is visible, because a server sends a transaction before the commit is visible.
//   - H, the chunk's fence, is the binlog's end after the SELECT. The rows hold nothing after H.
//
// Rows whose keys the stream changes between F and H are discarded from the chunk. The other rows
// are as of H, and are written when the stream passes H.
//
// The loop calls the methods. The SELECTs run in workers, which end with Close.
type reconciler struct {
	loop     reconcilerLoop
	source   rowSource
	backfill file.BackfillConfig
	log      zerolog.Logger
	requests chan *chunk
	results  chan *chunk
	pending  []*chunk       // read; they wait for the stream to pass their fence
	waiting  []*mappedTable // tables without a chunk in flight
	active   int            // chunks in flight
	repeated int            // chunks that overflowed and were read again
	limiter  rateLimiter
	logged   time.Time

	// loaded counts the rows of finished chunks. expected estimates it at the end of the load.
	loaded, expected int64

	cancel    context.CancelFunc
	done      sync.WaitGroup
	wakeTimer *time.Timer // wakes the loop when the limiter allows the next chunk
}

// chunk is a range of a table, from the SELECT to the sink. The worker owns result, err, rows, keys
// and unit until read is set.
type chunk struct {
	table    *mappedTable
	plan     *transform.Plan // a clone for the worker: two goroutines cannot share a plan
	after    [][]byte
	until    [][]byte // nil: up to limit
	limit    int
	reserved int             // rows that the limiter has granted
	bytes    int             // the chunk's share of chunkBytes
	from     binlog.Position // F

	dirty dirtyKeys
	key   []byte

	// read is set when the worker has finished: the loop owns the following fields from then on.
	read   atomic.Bool
	result query.ChunkResult
	err    error
	rows   []loadedRow
	keys   []byte
	unit   transform.Commands // the commands of all rows, in order
}

// loadedRow is a row of a chunk: the ends of its key in chunk.keys and of its commands in
// chunk.unit, and the number of its commands.
type loadedRow struct{ keyEnd, commandsEnd, commands int }

// newReconciler returns a reconciler of those tables that are not loaded yet. It has no workers
// until the first step.
func newReconciler(
	loop reconcilerLoop, source rowSource, tables []*mappedTable, c file.BackfillConfig,
	log zerolog.Logger,
) *reconciler {
	r := &reconciler{
		loop:     loop,
		source:   source,
		backfill: c,
		log:      log,
		requests: make(chan *chunk, c.Parallel),
		results:  make(chan *chunk, c.Parallel),
		limiter:  rateLimiter{perSecond: c.RowsPerSecond},
		logged:   time.Now(),
	}
	for _, t := range tables {
		if !t.backfill.Done && !t.backfill.Skipped {
			r.waiting = append(r.waiting, t)
		}
	}
	return r
}

// estimate sets the counters of the load, from the rows of all tables that were loaded before and
// the source's estimates.
func (r *reconciler) estimate(ctx context.Context, tables []*mappedTable) {
	schemas := make([]*binlog.Table, len(r.waiting))
	for i, t := range r.waiting {
		schemas[i] = t.schema
	}
	estimates, err := r.source.EstimateRows(ctx, schemas)
	if err != nil {
		r.log.Warn().Err(err).Msg("the number of rows to load is unknown")
	}
	for i, n := range estimates {
		r.waiting[i].estimate = n
	}
	for _, t := range tables {
		r.loaded, r.expected = r.loaded+t.backfill.Rows, r.expected+t.expected()
	}
	r.loop.reportLoad(r.loaded, r.expected)
}

// Close ends the workers and waits for them. r may be nil.
func (r *reconciler) Close() {
	if r == nil || r.cancel == nil {
		return
	}
	r.cancel()
	if r.wakeTimer != nil {
		r.wakeTimer.Stop() // a wake under way meets a closed stream at worst
	}
	r.done.Wait()
	r.cancel = nil
}

// start starts the workers. They wake the loop after each result.
func (r *reconciler) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	for range r.backfill.Parallel {
		r.done.Go(func() { r.work(ctx) })
	}
}

// work is a worker: it reads chunks until ctx ends. An error becomes the chunk's, and ends the run.
func (r *reconciler) work(ctx context.Context) {
	rows := r.source.OpenRows()
	defer rows.Close()
	for {
		var c *chunk
		select {
		case <-ctx.Done():
			return
		case c = <-r.requests:
		}
		c.err = c.readFrom(ctx, rows)
		c.read.Store(true)
		r.results <- c // never blocks: the channel has a slot for each worker
		r.loop.wake()
	}
}

// errChunkFull ends the SELECT of a chunk whose rows exceed the chunk's share of memory.
var errChunkFull = errors.New("chunk is full")

// readFrom fills the chunk. If the rows do not fit, it reads as many rows as fit.
func (c *chunk) readFrom(ctx context.Context, rows rowReader) error {
	for {
		request := query.ChunkRequest{
			Table: c.table.schema, Key: c.table.order(), After: c.after, Until: c.until,
			Limit: c.limit,
		}
		var err error
		c.result, err = rows.ReadRows(ctx, request, c.from, c)
		if !errors.Is(err, errChunkFull) {
			return err
		}
		c.limit = max(1, len(c.rows))
	}
}

// reset removes all rows, before they are read once more.
func (c *chunk) reset() {
	c.rows, c.keys = c.rows[:0], c.keys[:0]
	c.unit.Reset()
}

// add appends a row, or returns errChunkFull.
func (c *chunk) add(row *binlog.Row) error {
	if len(c.rows) > 0 && len(c.unit.Bytes)+len(c.keys) > 2*c.bytes {
		return errChunkFull
	}
	var err error
	if c.keys, err = c.plan.AppendRowKey(c.keys, row); err != nil {
		return &StopError{err}
	}
	before := c.unit.Count
	change := binlog.Change{Table: c.table.schema, Op: binlog.Insert, After: row}
	if err = c.plan.Append(&c.unit, &change, transform.FullRow); err != nil {
		return &StopError{err}
	}
	c.rows = append(c.rows, loadedRow{len(c.keys), len(c.unit.Bytes), c.unit.Count - before})
	return nil
}

// markDirty records the keys of a change, so that the chunk does not overwrite its rows with older
// versions. It uses the table's plan; the chunk's plan belongs to the worker.
func (c *chunk) markDirty(change *binlog.Change) error {
	if c.dirty.overflowed {
		return nil
	}
	plan := c.table.plan
	for _, row := range [...]*binlog.Row{change.Before, change.After} {
		if row == nil {
			continue
		}
		key, err := plan.AppendRowKey(c.key[:0], row)
		if err != nil {
			return err
		}
		c.key = key
		c.dirty.add(key)
	}
	if c.dirty.size <= dirtyKeyBytes {
		return nil
	}
	if c.read.Load() {
		c.dirty.restrictTo(c.eachKey)
	} else {
		c.dirty.overflow()
	}
	return nil
}

// eachKey iterates over the keys of the chunk's rows.
func (c *chunk) eachKey(yield func(key []byte) bool) {
	from := 0
	for _, row := range c.rows {
		if !yield(c.keys[from:row.keyEnd]) {
			return
		}
		from = row.keyEnd
	}
}

// step is called between transactions. It receives results, writes the chunks whose fence the
// stream has passed, and requests further chunks. It reports whether every table is loaded.
func (r *reconciler) step(ctx context.Context) (bool, error) {
	if r.cancel == nil {
		r.start(ctx)
	}
	for range cap(r.results) {
		select {
		case c := <-r.results:
			if c.err != nil {
				return false, c.err
			}
			r.limiter.release(c.reserved - c.result.Rows)
			r.pending = append(r.pending, c)
			continue
		default:
		}
		break
	}
	keep := r.pending[:0]
	for _, c := range r.pending {
		if c.dirty.overflowed && len(c.rows) > 0 {
			r.readAgain(c)
			continue
		}
		// The stream's position, not the data's: the fence may lie after events that are no
		// transaction, and only the stream's position includes them.
		if r.loop.streamPosition().CompareFile(c.result.Fence) < 0 {
			keep = append(keep, c)
			continue
		}
		if err := r.writeChunk(ctx, c); err != nil {
			return false, err
		}
	}
	clear(r.pending[len(keep):]) // so that written chunks can be collected
	r.pending = keep
	if wait := r.requestChunks(r.loop.streamPosition(), time.Now()); wait > 0 {
		if r.wakeTimer == nil {
			r.wakeTimer = time.AfterFunc(wait, r.loop.wake)
		}
		r.wakeTimer.Reset(wait)
	}
	r.report()
	return len(r.waiting) == 0 && r.active == 0, nil
}

// requestChunks requests a chunk for each free worker, with position at as F. A chunk that the
// limiter does not allow yet is not requested, so that it does not collect dirty keys while it
// waits. requestChunks returns how long to wait before the next call; 0 if no table waits for time.
func (r *reconciler) requestChunks(at *binlog.Position, now time.Time) time.Duration {
	b := r.backfill
	for r.active < b.Parallel && len(r.waiting) > 0 {
		if wait := r.limiter.delay(now); wait > 0 {
			return wait
		}
		t := r.waiting[0]
		c := t.repeat
		if c == nil {
			c = &chunk{table: t, after: t.backfill.After, limit: min(firstChunkRows, b.ChunkRows)}
			if t.nextRows > 0 {
				c.limit = t.nextRows
			}
		}
		c.plan, c.from = t.plan.Clone(), at.Clone()
		c.reserved, c.bytes = c.limit, chunkBytes/b.Parallel
		r.limiter.acquire(now, c.limit)
		t.chunk, t.repeat = c, nil
		r.waiting = r.waiting[1:]
		r.active++
		r.requests <- c // never blocks: the channel has a slot for each worker
	}
	return 0
}

// finishChunk removes a table's chunk. rows is the limit of the table's next chunk.
func (r *reconciler) finishChunk(t *mappedTable, rows int) {
	r.active--
	t.chunk, t.nextRows = nil, rows
	if !t.backfill.Done {
		r.waiting = append(r.waiting, t)
	}
}

// readAgain schedules a chunk whose dirty keys overflowed to be read again, between the same
// bounds. This time the rows are known beforehand, and only their keys are recorded. So the chunk
// cannot overflow twice, and the load progresses however much is written.
//
// A row that is in the chunk only now was written after F. The stream has sent that row, or will
// before H, so it counts as dirty.
func (r *reconciler) readAgain(c *chunk) {
	r.repeated++
	again := &chunk{table: c.table, after: c.after, until: c.result.Last, limit: len(c.rows)}
	again.dirty.restrictTo(c.eachKey)
	r.finishChunk(c.table, 0)
	c.table.repeat = again
}

// nextLimit returns the limit of the chunk after this one: at most twice this chunk's limit, since
// larger rows may follow.
func (c *chunk) nextLimit(most int) int {
	if len(c.rows) == 0 {
		return min(firstChunkRows, most)
	}
	size := (len(c.unit.Bytes)+len(c.keys))/len(c.rows) + 1
	return max(1, min(most, c.bytes/size, 2*c.limit))
}

// cleanRows iterates over the rows that the stream has not changed.
func (c *chunk) cleanRows(yield func(rowCommands) bool) {
	from, key := 0, 0
	for i, row := range c.rows {
		commands := c.unit.Bytes[from:row.commandsEnd]
		clean := !c.dirty.contains(c.keys[key:row.keyEnd])
		if clean && !yield(rowCommands{commands, row.commands, i == len(c.rows)-1}) {
			return
		}
		from, key = row.commandsEnd, row.keyEnd
	}
}

// writeChunk applies the clean rows of a chunk in units. The last unit carries the finished range.
func (r *reconciler) writeChunk(ctx context.Context, c *chunk) error {
	if err := r.loop.writeRows(ctx, c.cleanRows); err != nil {
		return err
	}
	t := c.table
	expected := t.expected()
	t.backfill.Rows += int64(len(c.rows))
	t.backfill.After = c.result.Last
	t.backfill.Done = c.result.Done
	r.loaded += int64(len(c.rows))
	r.expected += t.expected() - expected
	r.loop.reportLoad(r.loaded, r.expected)
	if err := r.loop.saveBackfill(ctx, t); err != nil {
		return err
	}
	r.finishChunk(t, c.nextLimit(r.backfill.ChunkRows))
	if t.backfill.Done {
		r.log.Info().Str("table", t.schema.FullName()).Int64("rows", t.backfill.Rows).
			Msg("table loaded")
	}
	return nil
}

// report logs the progress of the load every loadLogInterval.
func (r *reconciler) report() {
	if time.Since(r.logged) < loadLogInterval {
		return
	}
	r.logged = time.Now()
	r.log.Info().Int64("rows", r.loaded).
		Int64("of_about", r.expected).
		Int("tables_left", len(r.waiting)+r.active).
		Int("chunks_read_again", r.repeated).Msg("loading tables")
}
