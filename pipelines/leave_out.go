package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// This file leaves out the changes of a transaction that the user has requested to skip, when the
// stream reaches the transaction.

// skipTables returns the tables whose changes are left out of the transaction that is being read.
// It returns nil if no request names the transaction, or if the request is for all of it.
func (l *loop) skipTables() []string {
	if len(l.skips) == 0 {
		return nil
	}
	t := l.stream.Transaction()
	for _, s := range l.skips {
		if s.skip.At.Names(&t) {
			return s.Tables
		}
	}
	return nil
}

// leavesOut reports whether changes of a table are left out of the open transaction.
func (l *loop) leavesOut(t *mappedTable) bool {
	return len(l.skips) > 0 && slices.Contains(l.skipTables(), t.FullName())
}

// leaveOutRows reads the rows of a table without applying them. The rows are counted, because the
// resumption of a split transaction skips rows by their number. A row that cannot be read is not an
// error. Changes that foreign keys made in other tables are not left out: these tables are read
// again.
func (l *loop) leaveOutRows(t *mappedTable, ev *binlog.Event) {
	if p := l.tables.cascades.watch(t.name(), ev.ForeignKeysOff); p != nil {
		l.tables.cascades.skipped(p, ev.Rows.Op())
	}
	for ev.Rows.Next() {
		l.rows++
		if t.openRows++; t.openRows == 1 {
			l.changedTables = append(l.changedTables, t)
		}
	}
}

// leaveOutEffects removes the tables that are left out of the open transaction from the effects of
// a statement, and returns these tables.
func (l *loop) leaveOutEffects(
	effects []ddl.Effect, unclear []ddl.TableName,
) (keptEffects []ddl.Effect, keptUnclear, leftOut []ddl.TableName) {
	tables := l.skipTables()
	if len(tables) == 0 {
		return effects, unclear, nil
	}
	isLeftOut := func(n ddl.TableName) bool {
		if !slices.Contains(tables, n.String()) {
			return false
		}
		if !slices.Contains(leftOut, n) {
			leftOut = append(leftOut, n)
		}
		return true
	}
	effects = slices.DeleteFunc(effects, func(e ddl.Effect) bool {
		return isLeftOut(e.Table)
	})
	unclear = slices.DeleteFunc(unclear, isLeftOut)
	return effects, unclear, leftOut
}

// leaveOutStatement handles a statement of a skipped transaction. The statement has changed tables
// of the server, but its effect is not applied, so each table that it concerns is read again, with
// its present definition. This includes the new name of a renamed table.
func (l *loop) leaveOutStatement(
	ctx context.Context, s *ddl.Statement, ev *binlog.Event,
) error {
	if s.Temporary {
		return nil
	}
	if err := l.trackNames(s, ev.SQL); err != nil {
		return err
	}
	effects, unclear, _, err := l.effectsOf(s, ev)
	if err != nil {
		return err
	}
	keys := l.foreignKeysOf(s, effects, unclear, ev.SQL)
	names := unclear
	for i := range effects {
		n := effects[i].Table
		isGone := effects[i].Class == ddl.TableGone
		switch {
		case isGone && l.tables.all[n.String()] == nil: // it was not mapped
			if err := l.tableGone(ctx, n, nil, effects[i].Reason, nil); err != nil {
				return err
			}
		case !slices.Contains(names, n):
			names = append(names, n)
		}
	}
	if len(names) == 0 && s.Action == ddl.Unknown {
		// The statement cannot be read, and it may concern any table. The comparison with the
		// server's definitions finds the tables that it has altered.
		l.leftOut.Unknown = true
		return l.scheduleSchemaCheck(ctx)
	}
	if err := l.rebuildLeftOut(names, ev.SQL); err != nil {
		return err
	}
	if err := l.checkForeignKeys(ctx, keys); err != nil {
		return err
	}
	l.tablesChanged()
	return nil
}

// rebuildLeftOut starts jobs that read the definitions and rows of tables, after a statement about
// them that was skipped.
func (l *loop) rebuildLeftOut(names []ddl.TableName, sql string) error {
	for _, n := range names {
		l.leftOut.Tables = append(l.leftOut.Tables, n.String())
		err := l.rebuildUnknown(n, "a statement about it was skipped: "+shorten(sql))
		if err != nil {
			return err
		}
	}
	return nil
}

// completeSkips is called when the position has moved past a transaction; from is the position
// before it. If the transaction was skipped, completeSkips records the gap and removes the request.
// It also removes requests that the stream can no longer reach. changed reports whether the unit
// was changed.
func (l *loop) completeSkips(from *binlog.Position, ev *binlog.Event) (changed bool, err error) {
	leftOut := l.leftOut
	l.leftOut = binlog.Skipped{}
	if len(l.skips) == 0 {
		return false, nil
	}
	found := ev.Skipped
	if found != nil {
		found.Tables = append(found.Tables, leftOut.Tables...)
		found.Unknown = found.Unknown || leftOut.Unknown
	}
	last := l.stream.Last()
	var keep []pendingSkip
	for _, s := range l.skips {
		switch {
		case s.skip.At.Names(&last) && (found != nil || len(s.Tables) > 0):
			if err := l.makeGapBySkip(&s, from, found); err != nil {
				return false, err
			}
		case s.skip.At.IsIncludedIn(&l.progress.Position):
			l.log.Warn().Str("transaction", s.At).Stringer("position", l.progress.Position).
				Msg("a request to skip a transaction is discarded: the position is past the " +
					"transaction, which was not skipped")
		default:
			keep = append(keep, s)
			continue
		}
		changed = true
	}
	if !changed {
		return false, nil
	}
	l.skips = keep
	l.updateSkips()
	return true, l.saveSkips()
}

// makeGapBySkip records the gap of a skipped transaction. found lists the tables of its changes, as
// far as they could be read; it is nil if only changes of some tables were skipped.
func (l *loop) makeGapBySkip(s *pendingSkip, from *binlog.Position, found *binlog.Skipped) error {
	gap := tablestate.Gap{
		Cause: tablestate.CauseSkip, At: s.At, From: from.String(),
		To: l.progress.Position.String(),
	}
	tables := s.Tables
	if found != nil {
		tables = l.withChildren(found.Tables)
		if gap.All = found.Unknown; gap.All {
			tables = l.tables.names()
		}
	}
	return l.makeGap(gap, tables)
}

// withChildren adds to tables those whose rows their foreign keys may have changed without logging
// it.
func (l *loop) withChildren(tables []string) []string {
	all := slices.Clone(tables)
	for i := range l.tables.cascades.keys {
		parent := parentOf(&l.tables.cascades.keys[i])
		if slices.Contains(tables, parent.String()) {
			all = append(all, l.tables.cascades.below(parent, l.isReconciled)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// skipUnreadable handles cause, the error that has ended the stream. If the error occurred within a
// transaction to skip whose end is known (see positionAfter), skipUnreadable moves the position to
// that end and records the gap, so that the next run requests the transactions after it. Otherwise
// it returns cause.
//
// The gap concerns all tables, so it is made only if the transaction cannot be read: because it was
// rejected, or because two runs in succession have ended in it. The first may have ended because
// the connection was cut. previous is the transaction to skip in which the run before has ended;
// zero if that run has ended elsewhere.
func (l *loop) skipUnreadable(
	ctx context.Context, cause error, previous binlog.TransactionID,
) error {
	if len(l.skips) == 0 || ctx.Err() != nil || !l.stream.InTransaction() ||
		errors.As(cause, new(*binlog.HistoryError)) {
		return cause
	}
	t := l.stream.Transaction()
	i := slices.IndexFunc(l.skips, func(s pendingSkip) bool { return s.skip.At.Names(&t) })
	if i < 0 || len(l.skips[i].Tables) > 0 {
		return cause
	}
	after, ok := positionAfter(l.stream.Position(), &t)
	if !ok {
		return cause
	}
	isSecond := previous == t.ID()
	if *l.endedIn = t.ID(); !isSecond && !errors.As(cause, new(*binlog.RefusedError)) {
		return cause
	}
	s, from := l.skips[i], l.progress.Position
	if l.progress.Partial > 0 {
		l.history.dropPartial(l.config.Name, &l.unit)
	}
	l.progress.Partial, l.progress.Row = 0, 0
	l.progress.Position = after
	// The next run compares only the beginning of the file: a request for the last transaction
	// before this one would make the server read this one as well.
	l.history.last = l.stream.PositionEvidence(binlog.Position{File: t.File, Offset: t.Start})
	if err := l.makeGapBySkip(&s, &from, &binlog.Skipped{Unknown: true}); err != nil {
		return err
	}
	l.skips = slices.Delete(l.skips, i, i+1)
	if err := l.saveSkips(); err != nil {
		return err
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	// The cause is not wrapped, because the next run does not read the transaction again.
	return fmt.Errorf("the skipped transaction %s cannot be read to its end, and the stream is "+
		"opened again after it: %s", s.At, cause.Error())
}

// positionAfter returns the position after the transaction t, which could not be read to its end.
// With a GTID that is the GTID set with t, else the offset that follows from t's length. MySQL 8.0
// and later send the length; without it ok is false.
func positionAfter(before *binlog.Position, t *binlog.Evidence) (at binlog.Position, ok bool) {
	at = *before
	if !t.GTID.IsZero() {
		at.GTID.AddGTID(t.GTID)
		at.File, at.Offset = "", 0
		return at, true
	}
	at.File, at.Offset = t.File, t.Start+t.Length
	return at, t.File != "" && t.Length > 0
}

// checkMismatched is called before the position moves past a transaction. It returns a StopError if
// rows of the transaction were not read because their table map did not fit the table, and the
// table has `on_error: stop`.
func (l *loop) checkMismatched() error {
	for t, reason := range l.tables.mismatched {
		rule, err := l.ruleOf(t)
		if err != nil {
			return err
		}
		if rule.OnError != transform.StopAtError {
			continue
		}
		if !l.leavesOut(t) {
			return l.offerSkip(&StopError{Err: reason}, t.FullName())
		}
		delete(l.tables.mismatched, t)
		l.stream.Forget() // the next transaction of the table is compared again
	}
	return nil
}

// settingError is the cause of a StopError that a setting demands, such as `on_drop: stop`.
type settingError struct{ error }

func (e *settingError) Unwrap() error { return e.error }

// explainUnreadable adds the command that skips the transaction to an error of the stream, if a
// transaction caused the error.
func (l *loop) explainUnreadable(err error) error {
	refused := new(binlog.RefusedError)
	if !errors.As(err, &refused) || !l.stream.InTransaction() {
		return err
	}
	if unsent := new(binlog.UnsentError); errors.As(err, &unsent) {
		// The other tables of the transaction cannot be read either, so no --table is offered.
		return l.offerSkip(l.locateUnsent(err, unsent), "")
	}
	return l.offerSkip(err, refused.Table)
}

// locateUnsent adds to the error of an event that the server cannot send where in its transaction
// the rows of the event are.
func (l *loop) locateUnsent(err error, unsent *binlog.UnsentError) error {
	if len(unsent.Tables) == 0 { // the transaction is left out, and its rows are not counted
		return err
	}
	return fmt.Errorf("%w; the event comes after row %d of the mapped tables in its transaction, "+
		"and usually has one row", err, l.rows)
}

// offerSkip adds the command that skips the transaction being read to its error. table is the table
// that caused the error; empty if no single table did.
func (l *loop) offerSkip(err error, table string) error {
	t := l.stream.Transaction()
	at := t.ID()
	if at.IsZero() || err == nil || l.isOffline {
		return err
	}
	command := fmt.Sprintf("rowfall skip %s --at %s", l.config.Path, at)
	reread := new(binlog.RereadError)
	isStop := errors.As(err, new(*StopError))
	if isStop && errors.As(err, &reread) && l.tables.all[table] != nil {
		return &rereadStop{err, reread, fmt.Sprintf("step over the table's changes in this "+
			"transaction, which makes a gap: %s --table %s; then close the gap: rowfall backfill "+
			"%s --table %s; or set another on_error and restart",
			command, table, l.config.Path, table)}
	}
	if l.tables.all[table] != nil {
		command += fmt.Sprintf(" (with --table %s: only its changes)", table)
	}
	return fmt.Errorf("%w; or step over this transaction, which makes a gap: %s", err, command)
}

// rereadStop is a StopError because of a RereadError. While the pipeline is stopped, no table can
// be read again, so its text begins with what makes the pipeline continue.
type rereadStop struct {
	error
	reread *binlog.RereadError
	remedy string
}

func (e *rereadStop) Error() string {
	text := strings.TrimSuffix(e.error.Error(), "; "+e.reread.Remedy()) + "; " + e.remedy
	if e.reread.Setting == "" {
		return text
	}
	return text + "; so that it does not happen again, " + e.reread.Setting
}

func (e *rereadStop) Unwrap() error { return e.error }
