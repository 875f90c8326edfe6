package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/sink"
	"rowfall/transform"
)

// Times that no setting changes yet.
const (
	// positionInterval bounds how old the position may be while only transactions
	// pass that touch nothing mapped.
	positionInterval = 500 * time.Millisecond
	// unitBytes and unitAge bound how long waiting transactions gather in one
	// unit.
	unitBytes = 64 << 10
	unitAge   = time.Millisecond
	// hugeUnit is the size of rows and units whose memory is returned to the system, at most
	// once in freeInterval.
	hugeUnit     = 16 << 20
	freeInterval = 10 * time.Second
)

// loop is one run of a pipeline, from what the sink holds to the error that ends
// it. One goroutine owns all of it.
type loop struct {
	pipeline   *Pipeline
	config     *file.Config
	sink       Sink
	conn       *mysql.Conn // reads schemas; never the rows
	wait       *queryWait  // of conn
	stream     *dump.Stream
	tables     *tableSet
	schemas    schemaCheck
	reconciler *Reconciler
	log        zerolog.Logger
	// origin begins the data, or moves its position, as begin decided; nil goes
	// on where the data stands.
	initialUnit func(ctx context.Context) error

	// progress is where the data stands once everything in unit is applied. It
	// shares nothing with the stream, whose position lives.
	progress sink.Progress
	head     binlog.Position // while replaying
	unit     sink.Unit
	history  history

	// The transaction being read. Rows are changes of mapped tables.
	rows     int // seen in it
	skip     int // of it that the sink already holds
	openRows int // of it in unit

	// whole says how much of unit are whole transactions that wait for more;
	// opened is since when, zero if there are none.
	committed       mark
	committedSince  time.Time
	linger          lingerTimer
	positionWritten time.Time // when the position was last written
	positionDirty   bool      // progress has moved since then

	huge  bool      // a huge row or unit has passed since freed
	freed time.Time // when memory was returned last
}

// mark is a place in a unit's commands.
type mark struct{ bytes, commands, rows int }

// run reads, transforms and applies until something fails.
func (l *loop) run(ctx context.Context) error {
	defer l.linger.close()
	l.positionWritten = time.Now()
	// The first event shows that the server has what was asked for. Before it
	// nothing is written: a wrong --from must not cost the data's position.
	ev, err := l.next(ctx)
	if err != nil {
		return err
	}
	if l.initialUnit != nil {
		if ev.Kind == binlog.Progress {
			l.progress.Position = l.stream.Position().Clone()
		}
		if err := l.initialUnit(ctx); err != nil {
			return err
		}
		l.pipeline.from = ""
	}
	l.reportProof()
	l.ready(ctx)
	if err := l.scheduleSchemaCheck(ctx); err != nil {
		return err
	}
	for {
		if err := l.handle(ctx, ev); err != nil {
			return err
		}
		if ev, err = l.next(ctx); err != nil {
			return err
		}
	}
}

func (l *loop) handle(ctx context.Context, ev *binlog.Event) error {
	if l.skip > 0 && ev.Kind != binlog.Progress {
		if err := l.verifyPartial(); err != nil {
			return err
		}
	}
	switch ev.Kind {
	case binlog.Changes:
		return l.changes(ctx, ev)
	case binlog.Commit:
		return l.commit(ctx, ev)
	case binlog.Statement:
		return l.statement(ctx, ev)
	case binlog.Progress:
		return l.idle(ctx)
	}
	return nil
}

// next reads an event. Whole transactions in the unit do not wait for it longer
// than unitAge, be it that the next transaction comes in slowly.
func (l *loop) next(ctx context.Context) (*binlog.Event, error) {
	for {
		wait := l.linger.context(ctx)
		ev, err := l.stream.Next(wait)
		if err == nil {
			return ev, nil
		}
		if ctx.Err() != nil || wait.Err() == nil {
			return nil, fmt.Errorf("read binlog after %s: %w", l.progress.Position, err)
		}
		if err := l.flushCommitted(ctx); err != nil {
			return nil, err
		}
	}
}

// flushWhole applies the whole transactions of the unit and leaves in it what has
// been read of the next.
func (l *loop) flushCommitted(ctx context.Context) error {
	if l.committedSince.IsZero() {
		l.linger.stop() // it ended late: what had waited is applied
		return nil
	}
	c, w := &l.unit.Commands, l.committed
	tail := bytes.Clone(c.Bytes[w.bytes:])
	rest := mark{0, c.Count - w.commands, c.Rows - w.rows}
	c.Bytes, c.Count, c.Rows = c.Bytes[:w.bytes], w.commands, w.rows
	if err := l.flush(ctx); err != nil {
		return err
	}
	if len(tail) > cap(c.Bytes) {
		c.Bytes = tail
	} else {
		c.Bytes = append(c.Bytes, tail...)
	}
	c.Count, c.Rows = rest.commands, rest.rows
	return nil
}

// changes appends the commands of one rows event.
func (l *loop) changes(ctx context.Context, ev *binlog.Event) error {
	t := l.tables.byTable[ev.Rows.Table()]
	if t == nil {
		return stop("rows of %s came that no plan is known for, after %s", ev.Rows.Table().FullName(), l.progress.Position)
	}
	mode := transform.FullRow
	if t.backfill.Done && l.progress.Phase == sink.Streaming {
		mode = transform.Delta
	}
	for ev.Rows.Next() {
		c := ev.Rows.Change()
		// Also what the sink already holds: a chunk may have been read before
		// it became visible.
		if t.chunk != nil {
			if err := t.chunk.markDirty(c); err != nil {
				return l.rowError(err)
			}
		}
		l.noteSize(c)
		l.rows++
		if l.rows <= l.skip {
			continue
		}
		if err := t.plan.Append(&l.unit.Commands, c, mode); err != nil {
			return l.rowError(err)
		}
		l.openRows++
		if l.openRows >= l.config.Node.MaxAtomicRows || l.unit.Size() >= l.config.Node.MaxAtomicBytes {
			if err := l.flushPartial(ctx); err != nil {
				return err
			}
		}
	}
	if err := ev.Rows.Err(); err != nil {
		return l.rowError(err)
	}
	return nil
}

// noteSize notes a huge row, whose memory is to be returned. The size of its unit does not show it:
// the commands of a DELETE, and of a row that is left out, are short.
func (l *loop) noteSize(c *binlog.Change) {
	if c.Before != nil && c.Before.Size() > hugeUnit || c.After != nil && c.After.Size() > hugeUnit {
		l.huge = true
	}
}

func (l *loop) rowError(err error) error {
	return stop("transaction after %s: %w", l.progress.Position, err)
}

// split applies what is read of a transaction that is too large for one unit.
// The position stays before it; partial and row say how much of it is there.
func (l *loop) flushPartial(ctx context.Context) error {
	l.progress.Partial++
	l.progress.Row = l.rows
	if l.progress.Partial == 1 {
		l.pipeline.stats.splits.Add(1)
		l.log.Warn().Stringer("after", l.progress.Position).Int("rows", l.rows).Int("bytes", l.unit.Size()).
			Msg("transaction is larger than one unit; splitting it")
	}
	l.savePartial()
	l.openRows = 0
	return l.flush(ctx)
}

// moved takes over the stream's position between transactions; at is the commit
// time, 0 where there is none.
func (l *loop) advancePosition(at int64) {
	l.progress.Position = l.stream.Position().Clone()
	l.advanceEvidence()
	if at > 0 {
		l.progress.Time = at
	}
	l.positionDirty = true
	if l.progress.Phase == sink.Replaying && includes(&l.progress.Position, &l.head) {
		l.progress.Phase = sink.Streaming
		l.unit.DropState(l.config.Name, headState)
		l.log.Info().Stringer("position", l.progress.Position).Msg("replay reached the old head")
	}
}

// commit ends the transaction and decides whether its unit waits for more.
func (l *loop) commit(ctx context.Context, ev *binlog.Event) error {
	if l.rows < l.skip {
		return stop("the data holds %d rows of the transaction after %s, but it has only %d: the binlog is not the one that the data was built from; "+
			"build the data again with --from snapshot", l.skip, l.progress.Position, l.rows)
	}
	wasSplit := l.progress.Partial > 0
	if wasSplit {
		l.dropPartial()
	}
	l.progress.Partial, l.progress.Row = 0, 0
	l.advancePosition(ev.Time)
	m := &l.pipeline.stats
	m.rows.Add(uint64(l.rows - l.skip))
	m.transactions.Add(1)
	l.rows, l.skip, l.openRows = 0, 0, 0
	if err := l.maybeFlush(ctx, wasSplit); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// settle applies the unit, unless more transactions may share it; now asks for
// it at once.
func (l *loop) maybeFlush(ctx context.Context, now bool) error {
	switch {
	case now:
	case l.unit.IsEmpty():
		// Only the position moves.
		if time.Since(l.positionWritten) < positionInterval {
			return nil
		}
	case l.unit.Size() >= unitBytes, !l.stream.Buffered():
	case l.committedSince.IsZero():
		l.committedSince = time.Now()
		l.linger.start()
		fallthrough
	default:
		c := &l.unit.Commands
		l.committed = mark{len(c.Bytes), c.Count, c.Rows}
		if time.Since(l.committedSince) < unitAge {
			return nil
		}
	}
	return l.flush(ctx)
}

// idle is called when the source has nothing to say, or has moved on without a
// transaction; never within one.
func (l *loop) idle(ctx context.Context) error {
	// A stream that was opened at a GTID set knows no file at first.
	if l.stream.Position().CompareFile(l.progress.Position) > 0 {
		l.advancePosition(0)
	}
	if !l.unit.IsEmpty() || l.positionDirty && time.Since(l.positionWritten) >= positionInterval {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if l.huge && time.Since(l.freed) >= freeInterval {
		// Go would keep the memory for minutes, in case that more such rows come.
		debug.FreeOSMemory()
		l.huge, l.freed = false, time.Now()
	}
	if err := l.checkReset(ctx); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// boundary is called between transactions: the place where rows that were read
// by SELECT may enter the order, and where schemas can be compared.
func (l *loop) betweenTransactions(ctx context.Context) error {
	if err := l.checkSchemas(ctx); err != nil {
		return err
	}
	if l.reconciler == nil {
		return nil
	}
	done, err := l.reconciler.step(ctx, l)
	if err != nil || !done {
		return err
	}
	l.reconciler.Close()
	l.reconciler = nil
	l.progress.Phase = sink.Streaming
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.sink.SetComplete(true)
	l.log.Info().Stringer("position", l.progress.Position).Msg("every table is complete")
	return nil
}

// apply hands the unit to the sink and begins a new one.
func (l *loop) flush(ctx context.Context) error {
	l.unit.Progress = l.progress
	l.saveEvidence()
	size := l.unit.Size()
	if size > hugeUnit {
		// What reading it has left behind is as large, and would stay until the heap doubles.
		runtime.GC()
		l.huge = true
	}
	if err := l.sink.Apply(ctx, &l.unit); err != nil {
		return l.flushError(ctx, err)
	}
	m := &l.pipeline.stats
	m.units.Add(1)
	m.commands.Add(uint64(l.unit.Commands.Count))
	m.bytes.Add(uint64(size))
	m.time.Store(l.progress.Time)
	m.phase.Store(uint32(l.progress.Phase))
	l.unit.Reset()
	l.linger.stop()
	l.committedSince = time.Time{}
	l.positionWritten = time.Now()
	l.positionDirty = false
	return nil
}

// applyError tells a sink that is no longer ours, which passes, from a unit that
// does not fit what the sink holds, which does not.
func (l *loop) flushError(ctx context.Context, err error) error {
	if errors.Is(err, sink.ErrDemoted) {
		return err
	}
	err = fmt.Errorf("write the unit up to %s: %w", l.progress.Position, err)
	if errors.Is(err, replication.ErrClosed) || ctx.Err() != nil {
		return err
	}
	return stop("%w; if the data does not fit the mapping any more, build it again with --from snapshot", err)
}

// includes reports whether everything up to p is within at. Without GTIDs on
// both sides it goes by file and offset.
func includes(at, p *binlog.Position) bool {
	if !p.GTID.IsZero() && !at.GTID.IsZero() {
		return at.GTID.Contains(p.GTID)
	}
	return p.File != "" && at.CompareFile(*p) >= 0
}
