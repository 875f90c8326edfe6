package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
	"rowfall/transform/suggest"
)

// A user may ask to skip one transaction that cannot be applied. The request is stored with the
// data, so that a restart keeps it. When the stream reaches the transaction, it is left out. The
// unit that moves the position past it records the gap and removes the request.

// pendingSkip is a stored request, parsed.
type pendingSkip struct {
	tablestate.SkipRequest
	skip binlog.Skip
}

// skipCall is a request that is not stored yet.
type skipCall struct {
	at     binlog.TransactionID
	table  string     // empty for all of the transaction
	result chan error // of one element
}

// Skip stores a request to skip the transaction that at names, as binlog.TransactionID prints it,
// or only its changes of one table, as database.table. The pipeline may stream, retry or be
// stopped: in the latter cases it runs again at once. Run must be retried as supervise does.
func (p *Pipeline) Skip(ctx context.Context, at, table string) error {
	id, err := binlog.ParseTransactionID(at)
	if err != nil {
		return err
	}
	if writable, _ := p.sink.Writable(); !writable {
		return errors.New("the node is a replica, and its data are its upstream's; " +
			"skip the transaction at the master")
	}
	c := skipCall{id, table, make(chan error, 1)}
	deadline := time.NewTimer(requestTimeout)
	defer deadline.Stop()
	select {
	case p.skipCalls <- c:
	default:
		return fmt.Errorf("%d requests to skip wait for the pipeline already", maxRequests)
	}
	// Either a run that is streaming takes the request, or the next run does.
	select {
	case p.retryNow <- struct{}{}:
	default:
	}
	if wake := p.wake.Load(); wake != nil {
		(*wake)()
	}
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-deadline.C:
		return fmt.Errorf("the pipeline has not answered within %v; "+
			"the request may still be stored", requestTimeout)
	}
}

// acceptSkips stores the requests that wait in the data, before a run connects to its source: there
// the transaction may end the run at once. loaded is why the data could not be loaded.
func (p *Pipeline) acceptSkips(
	ctx context.Context, state *sink.State, stored *progress, loaded error,
) {
	for len(p.skipCalls) > 0 {
		c := <-p.skipCalls
		err := loaded
		if err == nil {
			err = p.storeSkip(ctx, &c, state, stored)
		}
		c.result <- err
	}
}

// storeSkip stores a request in data at rest, and in state.
func (p *Pipeline) storeSkip(
	ctx context.Context, c *skipCall, state *sink.State, stored *progress,
) error {
	if stored.Phase == sink.Empty {
		return fmt.Errorf("the node holds no data of pipeline %s", p.config.Name)
	}
	var l loop // holds what the data say of gaps, requests and tables
	if err := l.loadGaps(state.Pieces); err != nil {
		return err
	}
	list, err := tablestate.DecodeSkips(state.Pieces[tablestate.SkipsPiece])
	if err != nil {
		return corrupt("skip requests", err)
	}
	if c.table != "" && state.Pieces[tablestate.JobPrefix+c.table] == nil {
		return fmt.Errorf("table %q is not mapped", c.table)
	}
	if list, err = addSkip(list, c, stored, len(l.gaps.Open)); err != nil {
		return err
	}
	text, err := tablestate.EncodeSkips(list)
	if err != nil {
		return err
	}
	u := sink.Unit{Progress: state.Progress}
	u.SetState(p.config.Name, tablestate.SkipsPiece, text)
	if err := p.sink.Apply(ctx, &u); err != nil {
		return fmt.Errorf("store the request: %w", err)
	}
	state.Pieces[tablestate.SkipsPiece] = text
	p.stats.recordSkips(list)
	p.log.Warn().Stringer("transaction", c.at).Str("table", c.table).
		Msg("a transaction will be skipped, as requested")
	return nil
}

// addSkip adds a request to the stored ones, if it may still be reached from the data's position.
func addSkip(
	list []tablestate.SkipRequest, c *skipCall, at *progress, gaps int,
) ([]tablestate.SkipRequest, error) {
	p := &at.Position
	byGTID := !c.at.GTID.IsZero()
	switch {
	case byGTID && p.GTID.IsZero():
		return nil, fmt.Errorf("skip %s: the data have no GTIDs; give the FILE:OFFSET of the error",
			c.at)
	case byGTID && p.GTID.IsMariaDB() != c.at.GTID.MariaDB:
		return nil, fmt.Errorf("skip %s: the data are at %s, and GTIDs of that server have "+
			"another form", c.at, p)
	case !byGTID && p.File == "":
		return nil, fmt.Errorf("skip %s: the data have only GTIDs at the moment (%s); "+
			"give gtid: and the transaction's GTID", c.at, p)
	case !byGTID && baseName(p.File) != baseName(c.at.File):
		return nil, fmt.Errorf("skip %s: the server's binlog files are named like %s",
			c.at, p.File)
	case c.at.IsIncludedIn(p):
		return nil, fmt.Errorf("skip %s: the data include this transaction already, they are at "+
			"%s; give the POSITION that the error names", c.at, p)
	case gaps+len(list) >= tablestate.MaxGaps:
		return nil, fmt.Errorf("skip %s: there are %d gaps and requests already, which is the "+
			"most that are recorded; close gaps with rowfall backfill first",
			c.at, gaps+len(list))
	}
	text := c.at.String()
	i := slices.IndexFunc(list, func(r tablestate.SkipRequest) bool { return r.At == text })
	if i < 0 {
		i = len(list)
		list = append(slices.Clone(list), tablestate.SkipRequest{At: text})
	} else {
		list = slices.Clone(list)
		if len(list[i].Tables) == 0 {
			return list, nil // all of it is skipped already
		}
	}
	r := &list[i]
	r.Time = time.Now().UnixMicro()
	if !byGTID {
		r.Server = at.Server
	}
	if c.table == "" {
		r.Tables = nil
	} else if !slices.Contains(r.Tables, c.table) {
		r.Tables = append(slices.Clone(r.Tables), c.table)
	}
	return list, nil
}

// handleSkips stores the requests that have come since the run began.
func (l *loop) handleSkips(ctx context.Context) error {
	for len(l.skipCalls) > 0 {
		c := <-l.skipCalls
		stored, err := l.addSkip(&c)
		if err == nil && stored {
			err = l.flush(ctx)
		}
		if err == nil {
			l.log.Warn().Stringer("transaction", c.at).Str("table", c.table).
				Msg("a transaction will be skipped, as requested")
			l.updateSkips()
		}
		c.result <- err
		if err != nil && stored {
			return err
		}
	}
	return nil
}

// addSkip puts a request into the unit, and reports whether it did.
func (l *loop) addSkip(c *skipCall) (stored bool, err error) {
	if c.table != "" && l.tables.all[c.table] == nil {
		return false, fmt.Errorf("table %q is not mapped%s", c.table,
			suggest.DidYouMean(c.table, l.tables.names()))
	}
	list := l.skipRequests()
	at := l.progress
	at.Position = *l.stream.Position()
	if list, err = addSkip(list, c, &at, len(l.gaps.Open)); err != nil {
		return false, err
	}
	if err := l.setSkips(list); err != nil {
		return false, err
	}
	return true, l.saveSkips()
}

// loadSkips reads the requests that the data hold.
func (l *loop) loadSkips(pieces map[string][]byte) error {
	list, err := tablestate.DecodeSkips(pieces[tablestate.SkipsPiece])
	if err != nil {
		return corrupt("skip requests", err)
	}
	n := len(list)
	list = slices.DeleteFunc(list, func(r tablestate.SkipRequest) bool {
		isOther := r.Server != "" && r.Server != l.progress.Server
		if isOther {
			l.log.Warn().Str("transaction", r.At).Str("server", r.Server).
				Msg("a request to skip a transaction is dropped: it names a place in the binlog " +
					"of another server")
		}
		return isOther
	})
	if err := l.setSkips(list); err != nil || len(list) == n {
		return err
	}
	return l.saveSkips()
}

func (l *loop) setSkips(list []tablestate.SkipRequest) error {
	l.skips = make([]pendingSkip, len(list))
	for i := range list {
		skip, err := list[i].Skip()
		if err != nil {
			return err
		}
		l.skips[i] = pendingSkip{list[i], skip}
	}
	return nil
}

// saveSkips puts the requests into the unit.
func (l *loop) saveSkips() error {
	if len(l.skips) == 0 {
		l.unit.DropState(l.config.Name, tablestate.SkipsPiece)
		return nil
	}
	text, err := tablestate.EncodeSkips(l.skipRequests())
	if err != nil {
		return err
	}
	l.unit.SetState(l.config.Name, tablestate.SkipsPiece, text)
	return nil
}

// updateSkips gives the requests to the stream, and to status.
func (l *loop) updateSkips() {
	list := make([]binlog.Skip, len(l.skips))
	for i, s := range l.skips {
		list[i] = s.skip
	}
	l.stream.Skip(list)
	l.stats.recordSkips(l.skipRequests())
}

// skipRequests returns the requests as they are stored.
func (l *loop) skipRequests() []tablestate.SkipRequest {
	list := make([]tablestate.SkipRequest, len(l.skips))
	for i := range l.skips {
		list[i] = l.skips[i].SkipRequest
	}
	return list
}

// skipTables returns the tables that are left out of the transaction that the stream has yielded
// last; nil if there is no request for it, or one for all of it.
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

// leaveOutRows reads the rows of a table without applying them. They count for the resumption of a
// split transaction. A row that cannot be read is no fault.
func (l *loop) leaveOutRows(t *mappedTable, ev *binlog.Event) error {
	for ev.Rows.Next() {
		l.rows++
		if t.openRows++; t.openRows == 1 {
			l.touched = append(l.touched, t)
		}
	}
	return nil
}

// leaveOutEffects removes the tables that are left out of the open transaction from the effects of
// a statement.
func (l *loop) leaveOutEffects(
	effects []ddl.Effect, unclear []tableName,
) ([]ddl.Effect, []tableName) {
	tables := l.skipTables()
	if len(tables) == 0 {
		return effects, unclear
	}
	effects = slices.DeleteFunc(effects, func(e ddl.Effect) bool {
		return slices.Contains(tables, nameOf(e.Table).String())
	})
	unclear = slices.DeleteFunc(unclear, func(n tableName) bool {
		return slices.Contains(tables, n.String())
	})
	return effects, unclear
}

// leaveOutStatement records which tables a statement concerns that is left out.
func (l *loop) leaveOutStatement(s *ddl.Statement, ev *binlog.Event) error {
	effects, unclear, _, err := l.effectsOf(s, ev)
	if err != nil {
		return err
	}
	for i := range effects {
		ev.Skipped.Tables = append(ev.Skipped.Tables, nameOf(effects[i].Table).String())
	}
	for _, n := range unclear {
		ev.Skipped.Tables = append(ev.Skipped.Tables, n.String())
	}
	return nil
}

// passSkips is called when the position has moved from one place past a transaction. If that was to
// be left out, passSkips records the gap and removes the request. It removes requests that cannot
// be reached any more, too. It reports whether it has changed the unit.
func (l *loop) passSkips(from *binlog.Position, ev *binlog.Event) (changed bool, err error) {
	if len(l.skips) == 0 {
		return false, nil
	}
	last := l.stream.Last()
	var keep []pendingSkip
	for _, s := range l.skips {
		switch {
		case s.skip.At.Names(&last) && (ev.Skipped != nil || len(s.Tables) > 0):
			if err := l.makeGapBySkip(&s, from, ev.Skipped); err != nil {
				return false, err
			}
		case s.skip.At.IsIncludedIn(&l.progress.Position):
			l.log.Warn().Str("transaction", s.At).Stringer("position", l.progress.Position).
				Msg("a request to skip a transaction is dropped: no transaction has that name, " +
					"or it is applied")
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

// makeGapBySkip records the gap of a transaction that was left out. found is what was read of it,
// nil if only changes of some tables were left out.
func (l *loop) makeGapBySkip(s *pendingSkip, from *binlog.Position, found *binlog.Skipped) error {
	gap := tablestate.Gap{
		Cause: tablestate.CauseSkip, At: s.At, From: from.String(),
		To: l.progress.Position.String(),
	}
	tables := s.Tables
	if found != nil {
		tables = found.Tables
		if gap.All = found.Unknown; gap.All {
			tables = l.tables.names()
		}
	}
	return l.makeGap(gap, tables)
}

// skipUnreadable handles the error that has ended the stream. Is it within a transaction that is to
// be skipped, and that cannot be read to its end? With a GTID the stream can continue after it: the
// position gets the GTID, and the next run requests what follows.
func (l *loop) skipUnreadable(ctx context.Context, cause error) error {
	if len(l.skips) == 0 || ctx.Err() != nil || !l.stream.InTransaction() ||
		errors.As(cause, new(*binlog.HistoryError)) {
		return cause
	}
	t := l.stream.Transaction()
	i := slices.IndexFunc(l.skips, func(s pendingSkip) bool { return s.skip.At.Names(&t) })
	if i < 0 || t.GTID.IsZero() || len(l.skips[i].Tables) > 0 {
		return cause
	}
	s, from := l.skips[i], l.progress.Position
	if l.progress.Partial > 0 {
		l.history.dropPartial(l.config.Name, &l.unit)
	}
	l.progress.Partial, l.progress.Row = 0, 0
	at := l.stream.Position().Clone()
	at.GTID.AddGTID(t.GTID)
	at.File, at.Offset = "", 0
	l.progress.Position = at
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
	// The cause is not wrapped: the next run does not meet it.
	return fmt.Errorf("the skipped transaction %s cannot be read to its end, and the stream is "+
		"opened again after it: %s", s.At, cause.Error())
}

// checkMismatched returns a StopError before the position moves past rows that were not read,
// because their table map did not fit a table with `on_error: stop`.
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
			return l.offerSkip(&StopError{reason}, t.FullName())
		}
		delete(l.tables.mismatched, t)
		l.stream.Forget() // the next transaction of the table is compared again
	}
	return nil
}

// settingError is the cause of a StopError that the user has asked for, such as `on_drop: stop`.
type settingError struct{ error }

func (e *settingError) Unwrap() error { return e.error }

// explainUnreadable adds to an error of the stream how to step over the transaction, if the error
// is the fault of a transaction.
func (l *loop) explainUnreadable(err error) error {
	refused := new(binlog.RefusedError)
	if !errors.As(err, &refused) || !l.stream.InTransaction() {
		return err
	}
	return l.offerSkip(err, refused.Table)
}

// offerSkip adds to the error of a transaction that cannot be applied how to step over it. table is
// the table with the fault; empty if it is not one table's.
func (l *loop) offerSkip(err error, table string) error {
	t := l.stream.Transaction()
	at := t.ID()
	if at.IsZero() || err == nil {
		return err
	}
	command := fmt.Sprintf("rowfall skip %s --at %s", l.config.Path, at)
	if l.tables.all[table] != nil {
		command += fmt.Sprintf(" (with --table %s: only its changes)", table)
	}
	return fmt.Errorf("%w; or step over this transaction, which makes a gap: %s", err, command)
}
