package pipelines

import (
	"errors"
	"slices"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// span is the part of the unit's commands that one rows event of the open transaction has made.
type span struct {
	table    *mappedTable
	from, to transform.Mark
}

// isTableFault reports whether an error is the fault of one table: another try makes it again, and
// the stream can continue without the table.
func isTableFault(err error) bool {
	return errors.As(err, new(*transform.RowError)) ||
		errors.As(err, new(*binlog.RefusedError)) || errors.As(err, new(*jobs.UnreadableError)) ||
		errors.As(err, new(*sink.KeyTypeError))
}

// Fault implements jobs.Host.
func (l *loop) Fault(table *jobs.Table, err error) error {
	t := l.tables.all[table.FullName()]
	if t == nil || &t.Table != table || !isTableFault(err) {
		return err
	}
	return l.quarantine(t, err)
}

// quarantine puts a table into quarantine. It returns a StopError if the table's `on_error` is
// stop, or for a value that is too long, if `too_long` is stop. The commands that the open
// transaction has made for the table are taken out of the unit. Parts of a split transaction that
// were applied stay.
func (l *loop) quarantine(t *mappedTable, fault error) error {
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	onError := rule.OnError
	if row := new(transform.RowError); errors.As(fault, &row) {
		onError = row.OnError
	}
	if located := l.config.Locate(fault); located != nil {
		fault = located // FILE:LINE: path: message
	}
	if onError == transform.StopAtError {
		return stop("transaction after %s: %w", l.progress.Position, fault)
	}
	if p := l.tables.cascades.watch(t.name(), false); p != nil {
		// The rest of the table's rows in this transaction is not read, so any change is assumed.
		l.tables.cascades.skipped(p, binlog.Delete)
		l.tables.cascades.skipped(p, binlog.Update)
	}
	l.cutSpans(t)
	l.tables.letters.undo(t)
	// The rows of the table are no longer counted: neither in this transaction, nor when the rest
	// of a split transaction is read again.
	l.rows -= t.openRows
	l.skip -= t.skippedRows
	if l.progress.Partial > 0 {
		l.progress.Row -= t.appliedRows
	}
	t.openRows, t.skippedRows, t.appliedRows = 0, 0, 0
	t.Fault = &tablestate.Fault{
		Reason: fault.Error(), Position: l.progress.Position.String(), Since: l.progress.Time,
	}
	t.Interrupt()
	l.log.Error().Str("table", t.FullName()).Err(fault).Stringer("after", l.progress.Position).
		Msg("a table is in quarantine: its changes are not applied; " +
			"end that with rowfall backfill FILE --table TABLE")
	l.tablesChanged()
	if l.stream != nil { // a start may find a fault
		l.stream.Forget()
	}
	return t.save(&l.unit, l.config.Name)
}

// quarantineRolledBack puts the tables that the open transaction has changed into quarantine,
// because a ROLLBACK has undone some of the changes.
func (l *loop) quarantineRolledBack() error {
	for _, t := range slices.Clone(l.changedTables) {
		if l.leavesOut(t) {
			continue
		}
		err := l.quarantine(t, errRolledBack)
		if errors.As(err, new(*StopError)) {
			return l.offerSkip(err, t.FullName())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errRolledBack = &binlog.RereadError{
	Cause: "a transaction that changed it and tables of an engine without transactions was " +
		"rolled back, and which rows stayed is not in the binlog",
}

// cutSpans removes the commands of a table that belong to the open transaction from the unit.
func (l *loop) cutSpans(t *mappedTable) {
	c := &l.unit.Commands
	keep := l.spans[:0]
	var removed transform.Mark
	for _, s := range l.spans {
		s.from, s.to = s.from.Sub(removed), s.to.Sub(removed)
		if s.table != t {
			keep = append(keep, s)
			continue
		}
		c.Remove(s.from, s.to)
		removed = removed.Add(s.to.Sub(s.from))
	}
	l.spans = keep
}

// addSpan records what a rows event has added to the unit.
func (l *loop) addSpan(t *mappedTable, before transform.Mark) {
	end := l.unit.Commands.Mark()
	if n := len(l.spans); n > 0 && l.spans[n-1].table == t && l.spans[n-1].to == before {
		l.spans[n-1].to = end
		return
	}
	l.spans = append(l.spans, span{t, before, end})
}

// endSpans forgets the transaction, which has been committed.
func (l *loop) endSpans() {
	l.spans = l.spans[:0]
	for _, t := range l.changedTables {
		t.openRows, t.skippedRows, t.appliedRows = 0, 0, 0
	}
	l.changedTables = l.changedTables[:0]
}

// shiftSpans moves the spans after the unit up to end was applied.
func (l *loop) shiftSpans(end transform.Mark) {
	for i := range l.spans {
		s := &l.spans[i]
		s.from, s.to = s.from.Sub(end), s.to.Sub(end)
	}
}
