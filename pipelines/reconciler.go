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
	// chunkUnitRows bounds the rows of one unit of a chunk, so that the
	// stream's own rows never wait long.
	chunkUnitRows = 500
	// firstChunkRows is how many rows tell how large a table's rows are.
	firstChunkRows  = 1000
	loadLogInterval = 10 * time.Second
)

// chunkBytes is what the chunks that are read at once should hold in memory
// together: the rows of one are chosen by the size of the last one's, and it is cut
// short at twice its share. A variable for tests.
var chunkBytes = 32 << 20

// Reconciler reads tables again, a chunk at a time, while the stream goes on. Its
// correctness rests on a bracket. F is where the stream stood when the chunk was asked
// for: the SELECT waits until all up to there is visible, since a server sends a
// transaction before its commit shows. H is the binlog's end after the SELECT: the
// rows hold nothing from beyond. Those that the stream touches between F and H are
// dropped from the chunk; the others are as of H, and are written when the stream
// passes H.
//
// Its methods are called by the loop; the SELECTs run in workers of its own,
// which end with Close.
type Reconciler struct {
	config   *file.Config
	mysql    mysql.Config
	log      zerolog.Logger
	stats    *stats
	holds    *holds
	server   string // whose rows they must be
	requests chan *chunk
	results  chan *chunk
	pending  []*chunk // read, waiting for the stream to pass their fence
	waiting  []*mappedTable
	active   int
	repeated int // chunks that had to be read again
	limiter  rateLimiter
	logged   time.Time

	cancel    context.CancelFunc
	done      sync.WaitGroup
	wakeTimer *time.Timer // wakes the loop when the pace allows the next chunk
}

// chunk is a range of a table on its way from MySQL to the sink.
type chunk struct {
	table    *mappedTable
	plan     *transform.Plan // the worker's own: plans are not shared
	after    [][]byte
	until    [][]byte // nil: as far as limit
	limit    int
	reserved int             // the limit that the pace was asked for
	bytes    int             // its share of chunkBytes
	from     binlog.Position // F

	dirty dirtyKeys
	key   []byte

	// read says that the worker is done with the chunk: what follows is the loop's.
	read   atomic.Bool
	result query.ChunkResult
	err    error
	rows   []loadedRow
	keys   []byte
	unit   transform.Commands // the commands of all rows, one after the other
}

// loadedRow is a row of a chunk: where its key and its commands end.
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

// estimate begins the count of rows, at those that were loaded before.
func (r *Reconciler) estimate(ctx context.Context, l *loop) {
	schemas := make([]*binlog.Table, len(r.waiting))
	for i, t := range r.waiting {
		schemas[i] = t.schema
	}
	estimates, err := query.EstimateRows(ctx, l.conn, schemas)
	if err != nil {
		r.log.Warn().Err(err).Msg("how many rows there are to load is not known")
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

// Close ends the workers and waits for them. It may be called on nil.
func (r *Reconciler) Close() {
	if r == nil || r.cancel == nil {
		return
	}
	r.cancel()
	if r.wakeTimer != nil {
		r.wakeTimer.Stop() // a wake that is under way finds a closed stream at worst
	}
	r.done.Wait()
	r.cancel = nil
}

// start begins the workers; wake tells the loop that a result is there.
func (r *Reconciler) start(ctx context.Context, wake func()) {
	ctx, r.cancel = context.WithCancel(ctx)
	for range r.config.Source.Backfill.Parallel {
		r.done.Go(func() { r.work(ctx, wake) })
	}
}

// work reads chunks until ctx ends. A connection that fails is the chunk's
// failure, and the loop's.
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
		r.results <- c // never blocks: one place per worker
		wake()
	}
}

// read fills a chunk over conn, or over a new connection, and returns the one to
// go on with. A server that falls silent is asked again over a new connection, and
// given more time, since a statement that finds its rows slowly looks the same.
func (r *Reconciler) read(ctx context.Context, conn *mysql.Conn, c *chunk) (*mysql.Conn, error) {
	var silence time.Duration // the connection's own
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
			// Rows left unread cost the connection. Those before them fit.
			c.limit = max(1, len(c.rows))
		case errors.As(err, &silent) && ctx.Err() == nil:
			silence = min(2*silent.Limit, maxSilence)
			r.log.Warn().Err(err).Dur("next_limit", silence).Msg("a chunk is read again over a new connection")
		default:
			return conn, err
		}
		closeConn(conn)
		conn = nil
	}
}

// sortSilence is how long the server may take to sort a table that has no key.
const sortSilence = 30 * time.Minute

func closeConn(c *mysql.Conn) {
	if c != nil {
		_ = c.Close()
	}
}

// errChunkFull ends the reading of a chunk whose rows are too large for memory.
var errChunkFull = errors.New("chunk is full")

// fill reads the chunk by one bracketed SELECT. A lock that is held elsewhere delays it
// and no more: the stream goes on.
func (r *Reconciler) fill(ctx context.Context, conn *mysql.Conn, c *chunk, silence time.Duration) error {
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

// add takes a row over, unless the chunk is full.
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

// touch notes the rows of a change, so that the chunk does not bring them back
// as they were. The table's own plan is the loop's to use, the chunk's is not.
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

// eachKey calls yield with the keys of the rows.
func (c *chunk) eachKey(yield func(key []byte) bool) {
	from := 0
	for _, row := range c.rows {
		if !yield(c.keys[from:row.keyEnd]) {
			return
		}
		from = row.keyEnd
	}
}

// step is called between transactions. It reports whether every table is done.
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
		// The stream's live position, not the data's: it moves past what is not
		// a transaction, and the fence may lie there.
		if l.stream.Position().CompareFile(c.result.Fence) < 0 {
			keep = append(keep, c)
			continue
		}
		if err := r.writeChunk(ctx, l, c); err != nil {
			return false, err
		}
	}
	clear(r.pending[len(keep):]) // so that the rows of those that were written can be freed
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

// ask starts as many chunks as there are workers free, from where the stream is
// at. What the pace does not allow yet is not begun, so that no chunk gathers
// touched rows while it waits; ask returns how long that is.
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
		c.plan, c.reserved, c.bytes, c.from = t.plan.Clone(), c.limit, chunkBytes/b.Parallel, at.Clone()
		r.limiter.acquire(now, c.limit)
		t.chunk, t.repeat = c, nil
		r.waiting = r.waiting[1:]
		r.active++
		r.requests <- c // never blocks: one place per worker
	}
	return 0
}

// release ends a table's chunk; rows is how many its next one may have.
func (r *Reconciler) finishChunk(t *mappedTable, rows int) {
	r.active--
	t.chunk, t.nextRows = nil, rows
	if !t.backfill.Done {
		r.waiting = append(r.waiting, t)
	}
}

// repeat has a lost chunk read again, between the same bounds. This time its rows
// are known beforehand, so that what the stream may touch meanwhile is bounded by
// them: it cannot be lost twice, and the load gets on however much is written.
//
// A row that is there only now was written after F. So the stream has brought it,
// or will before H, and it counts as touched.
func (r *Reconciler) readAgain(c *chunk) {
	r.repeated++
	again := &chunk{table: c.table, after: c.after, until: c.result.Last, limit: len(c.rows)}
	again.dirty.restrictTo(c.eachKey)
	r.finishChunk(c.table, 0)
	c.table.repeat = again
}

// next returns how many rows the chunk after this one may have: no more than twice
// as many, since there may be a reason why these were few.
func (c *chunk) nextLimit(most int) int {
	if len(c.rows) == 0 {
		return min(firstChunkRows, most)
	}
	size := (len(c.unit.Bytes)+len(c.keys))/len(c.rows) + 1
	return max(1, min(most, c.bytes/size, 2*c.limit))
}

// write puts the untouched rows of a chunk into units, the last of which carries
// the finished range.
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
			if u := &l.unit.Commands; len(commands) > hugeUnit && i == len(c.rows)-1 && len(u.Bytes) == 0 {
				u.Bytes = commands // as it is: nothing else needs the chunk's buffer any more
			} else {
				u.Bytes = append(u.Bytes, commands...)
			}
			l.unit.Commands.Count += row.commands
			inUnit++
		}
		from, key = row.commandsEnd, row.keyEnd
		if inUnit >= chunkUnitRows || l.unit.Size() >= l.config.Node.MaxAtomicBytes {
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
		r.log.Info().Str("table", t.schema.FullName()).Int64("rows", t.backfill.Rows).Msg("table loaded")
	}
	return nil
}

func (r *Reconciler) report() {
	if time.Since(r.logged) < loadLogInterval {
		return
	}
	r.logged = time.Now()
	r.log.Info().Int64("rows", r.stats.loaded.Load()).Int64("of_about", r.stats.expected.Load()).Int("tables_left", len(r.waiting)+r.active).Int("chunks_read_again", r.repeated).Msg("loading tables")
}
