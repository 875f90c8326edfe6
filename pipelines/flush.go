package pipelines

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"rowfall/binlog"
	"rowfall/sink"
	"rowfall/transform"
)

// commit ends a transaction.
func (l *loop) commit(ctx context.Context, ev *binlog.Event) error {
	if ev.Skipped != nil {
		l.rows = l.skip // the parts that were applied stay, and the rest is left out
	}
	if l.rows < l.skip {
		return stop("the data hold %d rows of the transaction after %s, but it has only %d: "+
			"the binlog is not the one that the data was built from; "+
			"build the data again with --from snapshot", l.skip, l.progress.Position, l.rows)
	}
	if err := l.checkMismatched(); err != nil {
		return err
	}
	if ev.RolledBack {
		if err := l.quarantineRolledBack(); err != nil {
			return err
		}
	}
	lost := l.stepXA(ev)
	wasSplit, from := l.progress.Partial > 0, l.progress.Position
	if wasSplit {
		l.history.dropPartial(l.config.Name, &l.unit)
	}
	l.progress.Partial, l.progress.Row = 0, 0
	l.advancePosition(ev.Time)
	l.stats.rows.Add(uint64(l.rows - l.skip))
	l.stats.transactions.Add(1)
	l.rows, l.skip, l.openRows = 0, 0, 0
	l.endSpans()
	l.hasDeletes = l.hasDeletes || len(l.tables.cascades.dueDeletes) > 0
	if err := l.makeGapsOfXA(lost, &from); err != nil {
		return err
	}
	if err := l.reconcileCascades(); err != nil {
		return err
	}
	skipped, err := l.completeSkips(&from, ev)
	if err != nil {
		return err
	}
	if err := l.maybeFlush(ctx, wasSplit || skipped); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// maybeFlush applies the unit at a transaction's end, unless further transactions may join it.
// now forces a flush.
func (l *loop) maybeFlush(ctx context.Context, now bool) error {
	switch {
	case now:
	case l.tables.prepared.unsavedBytes >= unitBytes:
	case l.unit.IsEmpty():
		// Only the position has changed.
		if time.Since(l.positionWritten) < positionInterval {
			return nil
		}
	case l.unit.Size() >= unitBytes:
	case l.committedSince.IsZero():
		l.committedSince = time.Now()
		l.committed = l.unit.Commands.Mark()
		return nil
	default:
		l.committed = l.unit.Commands.Mark()
		if time.Since(l.committedSince) < unitAge {
			return nil
		}
	}
	return l.flush(ctx)
}

// flushCommitted applies the committed transactions of the unit. What was read of the next
// transaction stays in the unit.
func (l *loop) flushCommitted(ctx context.Context) error {
	if l.committedSince.IsZero() {
		return nil
	}
	c, end, spans := &l.unit.Commands, l.committed, l.spans
	var tail transform.Commands
	tail.AppendRange(c, end, c.Mark())
	c.Truncate(end)
	l.spans = nil
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.spans = spans
	l.shiftSpans(end)
	c.MoveRange(&tail, transform.Mark{}, tail.Mark())
	return nil
}

// flushPartial applies a part of a transaction that is too large for one unit. The position stays
// before the transaction; Partial and Row count what the sink holds of it.
func (l *loop) flushPartial(ctx context.Context) error {
	l.progress.Partial++
	l.progress.Row = l.rows
	if l.progress.Partial == 1 {
		l.stats.splits.Add(1)
		l.log.Warn().Stringer("after", l.progress.Position).
			Int("rows", l.rows).Int("bytes", l.unit.Size()).
			Msg("transaction is larger than one unit; splitting it")
	}
	l.history.savePartial(l.config.Name, &l.unit, l.stream)
	l.saveLetters()
	l.openRows = 0
	for _, t := range l.changedTables {
		t.appliedRows = t.openRows
	}
	return l.flush(ctx)
}

// flush applies the unit and begins a new one.
func (l *loop) flush(ctx context.Context) error {
	if err := l.saveReferences(); err != nil {
		return err
	}
	if err := l.tables.prepared.save(&l.unit, l.config.Name); err != nil {
		return err
	}
	l.updateRebuilding()
	evidence := l.history.save(l.config.Name, &l.progress, l.stream, &l.unit)
	l.progress.store(&l.unit.Progress, evidence)
	size := l.unit.Size()
	if size > hugeUnit {
		// Reading the unit left garbage of the same size, which would stay until the heap doubles.
		runtime.GC()
		l.huge = true
	}
	if err := l.sink.Apply(ctx, &l.unit); err != nil {
		return l.flushError(ctx, err)
	}
	m := l.stats
	m.units.Add(1)
	m.commands.Add(uint64(l.unit.Commands.Count))
	m.bytes.Add(uint64(size))
	m.time.Store(l.progress.Time)
	m.phase.Store(uint32(l.progress.Phase))
	l.unit.Reset()
	l.hasDeletes = false
	l.spans = l.spans[:0]
	l.committedSince = time.Time{}
	l.positionWritten = time.Now()
	l.pacer.Applied(l.positionWritten)
	l.positionDirty = l.rebuilding.isStale
	return nil
}

// flushError returns the error of an Apply. Can a retry succeed? It can if the sink was demoted or
// closed, or ctx ended. Otherwise the unit does not fit the sink's data: that is a StopError.
func (l *loop) flushError(ctx context.Context, err error) error {
	if errors.Is(err, sink.ErrDemoted) {
		return err
	}
	err = fmt.Errorf("write the unit up to %s: %w", l.progress.Position, err)
	if errors.Is(err, sink.ErrClosed) || ctx.Err() != nil {
		return err
	}
	if table := l.recordKeyType(err); table != "" {
		return errKeyType(table, err)
	}
	return stop("%w; if the data does not fit the mapping any more, "+
		"build it again with --from snapshot", err)
}
