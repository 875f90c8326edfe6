package pipelines

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/sink"
	"rowfall/transform"
)

// changes appends the commands of one rows event to the unit.
func (l *loop) changes(ctx context.Context, ev *binlog.Event) error {
	t := l.tables.byTable[ev.Rows.Table()]
	if t == nil || !t.isFollowed() {
		return l.skipChanges(ev)
	}
	if l.leavesOut(t) {
		l.leaveOutRows(t, ev)
		return nil
	}
	if err := l.flushDeletes(ctx, t); err != nil {
		return err
	}
	mode, origin := l.writeMode(t), l.originOf(t, ev)
	before := l.unit.Commands.Mark()
	parent := l.tables.cascades.watch(t.name(), ev.ForeignKeysOff)
	for ev.Rows.Next() {
		c := ev.Rows.Change()
		if parent != nil {
			l.tables.cascades.record(parent, c)
		}
		if err := l.insertsAgain(ctx, t, c); err != nil {
			return l.tableFault(t, before, err)
		}
		// Rows that the sink already holds are marked too: a job may read them before they become
		// visible.
		if err := t.MarkDirty(c); err != nil {
			return l.tableFault(t, before, err)
		}
		l.recordSize(c)
		l.rows++
		if t.openRows++; t.openRows == 1 {
			l.changedTables = append(l.changedTables, t)
		}
		if l.rows <= l.skip {
			t.skippedRows, t.appliedRows = t.skippedRows+1, t.appliedRows+1
			continue
		}
		origin.Row = l.rows
		if err := l.checkAndAppend(ctx, t, c, mode, origin); err != nil {
			return l.tableFault(t, before, err)
		}
		l.openRows++
		if l.openRows >= l.config.Limits.MaxAtomicRows ||
			l.unit.Size() >= l.config.Limits.MaxAtomicBytes {
			if err := l.flushPartial(ctx); err != nil {
				return err
			}
			before = transform.Mark{}
		}
	}
	if err := ev.Rows.Err(); err != nil {
		return l.tableFault(t, before, err)
	}
	l.addSpan(t, before)
	return nil
}

// originOf returns where the changes of a table in the open transaction come from.
func (l *loop) originOf(t *mappedTable, ev *binlog.Event) transform.Origin {
	origin := transform.Origin{
		Replay: l.progress.Phase == sink.Replaying, Time: ev.Time, Position: &l.progress.Position,
	}
	if t.Plan.KeepsEntries() {
		open := l.stream.Transaction()
		id := open.ID()
		origin.Transaction = &id
	}
	if t.Plan.Expires() {
		origin.Now = l.sink.Now() * 1000
	}
	return origin
}

// checkAndAppend checks the keys of a changed row, and appends the commands of the change to the
// unit.
func (l *loop) checkAndAppend(
	ctx context.Context, t *mappedTable, c *binlog.Change, mode transform.Mode,
	origin transform.Origin,
) error {
	must, err := t.MustReplace(c)
	if err != nil {
		return err
	}
	if must {
		mode = transform.Replace
	}
	if err := l.keyTypeFault(t); err != nil {
		return err
	}
	if mode == transform.Replace {
		if err := l.checkKeyTypes(ctx, t, c); err != nil {
			return err
		}
	}
	return l.appendChange(t, c, mode, origin)
}

// skipChanges handles rows of a table whose changes are not applied. For example, the stream had
// looked the table up for this statement before the table went into quarantine.
func (l *loop) skipChanges(ev *binlog.Event) error {
	schema := ev.Rows.Table()
	n := ddl.NameOf(schema)
	if p := l.tables.cascades.watch(n, ev.ForeignKeysOff); p != nil {
		l.tables.cascades.compare(p, &ev.Rows, schema == l.tables.cascades.schemaOf(n))
	}
	if t := l.tables.all[schema.FullName()]; t != nil && t.isFollowed() {
		return stop("rows of %s came with a schema that is not the table's any more, after %s; "+
			"please report it", schema.FullName(), l.progress.Position)
	}
	return nil
}

// tableFault handles a row that cannot be applied. before is where the unit ended before the rows
// event.
func (l *loop) tableFault(t *mappedTable, before transform.Mark, err error) error {
	if !isTableFault(err) {
		return l.offerSkip(l.rowError(err), t.FullName())
	}
	l.addSpan(t, before)
	err = l.quarantine(t, err)
	if errors.As(err, new(*StopError)) {
		return l.offerSkip(err, t.FullName())
	}
	return err
}

// recordSize records whether a huge row passes, so that its memory is returned. The size of the
// unit does not show this: the commands of a DELETE, or of an excluded row, are short.
func (l *loop) recordSize(c *binlog.Change) {
	if c.Before != nil && c.Before.Size() > hugeUnit ||
		c.After != nil && c.After.Size() > hugeUnit {
		l.huge = true
	}
}

// writeMode returns how a table's rows are written. Does the sink certainly hold the row as it
// was before the change? Only then may the commands contain the changed fields alone.
func (l *loop) writeMode(t *mappedTable) transform.Mode {
	switch {
	case !t.Job.Done && t.Job.Compare, t.Job.Again != "", l.tables.cascades.isDue(t):
		return transform.Replace // the sink may hold the row in another form
	case l.deltas && t.Job.Done && l.progress.Phase == sink.Streaming:
		return transform.Delta
	}
	return transform.FullRow
}

func (l *loop) rowError(err error) error {
	return stop("transaction after %s: %w", l.progress.Position, err)
}
