package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
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

// Reconciler loads tables in chunks, while the stream continues. Its correctness rests on a bracket
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
type Reconciler struct {
	config   *file.Config
	mysql    mysql.Config
	log      zerolog.Logger
	stats    *stats
	holds    *holds
	server   string // UUID of the server that the stream comes from
	requests chan *chunk
	results  chan *chunk
	pending  []*chunk       // read; they wait for the stream to pass their fence
	waiting  []*mappedTable // tables without a chunk in flight
	active   int            // chunks in flight
	repeated int            // chunks that overflowed and were read again
	limiter  rateLimiter
	logged   time.Time

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

func newReconciler(l *loop) *Reconciler {
	r := &Reconciler{
		config:   l.config,
		log:      l.log,
		mysql:    l.pipeline.mysqlConfig(),
		stats:    l.stats,
		holds:    &l.pipeline.holds,
		server:   l.conn.Server().UUID,
		requests: make(chan *chunk, l.config.Source.Backfill.Parallel),
		results:  make(chan *chunk, l.config.Source.Backfill.Parallel),
		limiter:  rateLimiter{perSecond: l.config.Source.Backfill.RowsPerSecond},
		logged:   time.Now(),
	}
	for _, name := range l.tables.names() {
		if t := l.tables.all[name]; !t.backfill.Done && !t.backfill.Skipped {
			r.waiting = append(r.waiting, t)
		}
	}
	return r
}

// estimate sets the counters of the load, from the rows loaded before and the server's estimates.
func (r *Reconciler) estimate(ctx context.Context, l *loop) {
	schemas := make([]*binlog.Table, len(r.waiting))
	for i, t := range r.waiting {
		schemas[i] = t.schema
	}
	estimates, err := query.EstimateRows(ctx, l.conn, schemas)
	if err != nil {
		r.log.Warn().Err(err).Msg("the number of rows to load is unknown")
	}
	for i, n := range estimates {
		r.waiting[i].estimate = n
	}
	var loaded, expected int64
	for _, t := range l.tables.all {
		loaded, expected = loaded+t.backfill.Rows, expected+t.expected()
	}
	r.stats.loaded.Store(loaded)
	r.stats.expected.Store(expected)
}

// Close ends the workers and waits for them. r may be nil.
func (r *Reconciler) Close() {
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

// start starts the workers. They call wake after each result.
func (r *Reconciler) start(ctx context.Context, wake func()) {
	ctx, r.cancel = context.WithCancel(ctx)
	for range r.config.Source.Backfill.Parallel {
		r.done.Go(func() { r.work(ctx, wake) })
	}
}

// work is a worker: it reads chunks until ctx ends. An error becomes the chunk's, and ends the run.
func (r *Reconciler) work(ctx context.Context, wake func()) {
	var conn *mysql.Conn
	defer func() { closeConn(conn) }()
	for {
		var c *chunk
		select {
		case <-ctx.Done():
			return
		case c = <-r.requests:
		}
		conn, c.err = r.read(ctx, conn, c)
		c.read.Store(true)
		r.results <- c // never blocks: the channel has a slot for each worker
		wake()
	}
}

// read fills a chunk over conn, or over a new connection if conn is nil, and returns the connection
// for the next chunk. If the server falls silent, the chunk is read over a new connection with a
// longer limit, because a slow statement looks the same as a dead connection.
func (r *Reconciler) read(ctx context.Context, conn *mysql.Conn, c *chunk) (*mysql.Conn, error) {
	var silence time.Duration // 0: the connection's own limit
	if len(c.table.schema.Key()) == 0 {
		silence = sortSilence
	}
	for {
		var err error
		if conn == nil {
			if conn, err = mysql.Dial(ctx, r.mysql); err != nil {
				return nil, fmt.Errorf("connect to read rows: %w", err)
			}
		}
		err = r.fill(ctx, conn, c, silence)
		var silent *mysql.SilentError
		switch {
		case errors.Is(err, errChunkFull):
			// The unread rows make the connection unusable. The rows before them fit.
			c.limit = max(1, len(c.rows))
		case errors.As(err, &silent) && ctx.Err() == nil:
			silence = min(2*silent.Limit, maxSilence)
			r.log.Warn().Err(err).Dur("next_limit", silence).
				Msg("a chunk is read again over a new connection")
		default:
			return conn, err
		}
		closeConn(conn)
		conn = nil
	}
}

// sortSilence is how long the server may be silent while it sorts a table without a key.
const sortSilence = 30 * time.Minute

func closeConn(c *mysql.Conn) {
	if c != nil {
		_ = c.Close()
	}
}

// errChunkFull ends the SELECT of a chunk whose rows exceed the chunk's share of memory.
var errChunkFull = errors.New("chunk is full")

// fill reads the chunk with one bracketed SELECT. A table lock that another session holds delays
// only the chunk: the stream continues.
func (r *Reconciler) fill(
	ctx context.Context, conn *mysql.Conn, c *chunk, silence time.Duration,
) error {
	name := c.table.schema.FullName()
	w := newQueryWait(conn, "a SELECT of rows of "+name, r.log)
	defer r.holds.add(w)()
	return w.retryWhileLocked(ctx, name, false, func() (err error) {
		c.rows, c.keys = c.rows[:0], c.keys[:0]
		c.unit.Reset()
		request := query.ChunkRequest{
			Table: c.table.schema, Key: c.table.order(), After: c.after, Until: c.until,
			Limit: c.limit, Server: r.server, Silence: silence,
		}
		if c.result, err = query.Read(ctx, conn, request, c.from, c.add); err != nil {
			return fmt.Errorf("read rows of %s: %w", name, err)
		}
		return nil
	})
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
func (r *Reconciler) step(ctx context.Context, l *loop) (bool, error) {
	if r.cancel == nil {
		r.start(ctx, l.stream.Wake)
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
		if l.stream.Position().CompareFile(c.result.Fence) < 0 {
			keep = append(keep, c)
			continue
		}
		if err := r.writeChunk(ctx, l, c); err != nil {
			return false, err
		}
	}
	clear(r.pending[len(keep):]) // so that written chunks can be collected
	r.pending = keep
	if wait := r.requestChunks(l.stream.Position(), time.Now()); wait > 0 {
		if r.wakeTimer == nil {
			r.wakeTimer = time.AfterFunc(wait, l.stream.Wake)
		}
		r.wakeTimer.Reset(wait)
	}
	r.report()
	return len(r.waiting) == 0 && r.active == 0, nil
}

// requestChunks requests a chunk for each free worker, with position at as F. A chunk that the
// limiter does not allow yet is not requested, so that it does not collect dirty keys while it
// waits. requestChunks returns how long to wait before the next call; 0 if no table waits for time.
func (r *Reconciler) requestChunks(at *binlog.Position, now time.Time) time.Duration {
	b := r.config.Source.Backfill
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
func (r *Reconciler) finishChunk(t *mappedTable, rows int) {
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
func (r *Reconciler) readAgain(c *chunk) {
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

// writeChunk applies the clean rows of a chunk in units. The last unit carries the finished range.
func (r *Reconciler) writeChunk(ctx context.Context, l *loop, c *chunk) error {
	if !l.unit.IsEmpty() {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	from, key, inUnit := 0, 0, 0
	for i, row := range c.rows {
		if !c.dirty.contains(c.keys[key:row.keyEnd]) {
			commands := c.unit.Bytes[from:row.commandsEnd]
			isLast := i == len(c.rows)-1
			if u := &l.unit.Commands; len(commands) > hugeUnit && isLast && len(u.Bytes) == 0 {
				u.Bytes = commands // not copied: the chunk's buffer is not needed any more
			} else {
				u.Bytes = append(u.Bytes, commands...)
			}
			l.unit.Commands.Count += row.commands
			inUnit++
		}
		from, key = row.commandsEnd, row.keyEnd
		if inUnit >= chunkUnitRows || l.unit.Size() >= l.config.Limits.MaxAtomicBytes {
			if err := l.flush(ctx); err != nil {
				return err
			}
			inUnit = 0
		}
	}
	t := c.table
	expected := t.expected()
	t.backfill.Rows += int64(len(c.rows))
	t.backfill.After = c.result.Last
	t.backfill.Done = c.result.Done
	r.stats.loaded.Add(int64(len(c.rows)))
	r.stats.expected.Add(t.expected() - expected)
	if err := t.saveBackfill(&l.unit, l.config.Name); err != nil {
		return err
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	r.finishChunk(t, c.nextLimit(r.config.Source.Backfill.ChunkRows))
	if t.backfill.Done {
		r.log.Info().Str("table", t.schema.FullName()).Int64("rows", t.backfill.Rows).
			Msg("table loaded")
	}
	return nil
}

// report logs the progress of the load every loadLogInterval.
func (r *Reconciler) report() {
	if time.Since(r.logged) < loadLogInterval {
		return
	}
	r.logged = time.Now()
	r.log.Info().Int64("rows", r.stats.loaded.Load()).
		Int64("of_about", r.stats.expected.Load()).
		Int("tables_left", len(r.waiting)+r.active).
		Int("chunks_read_again", r.repeated).Msg("loading tables")
}
