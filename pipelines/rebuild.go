package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// This file has what starts jobs. A job reads a table's rows again while its old keys serve.

// reconcileJob returns a job that writes what differs and removes what no row writes.
func (l *loop) reconcileJob(reason string) tablestate.Job {
	l.lastJob++
	l.jobsChanged = true
	return tablestate.Job{
		ID: l.lastJob, Reason: reason, Compare: true, Sweep: &tablestate.Sweep{},
		Gap: l.gaps.Last,
	}
}

// missedFrom returns MissedFrom for a job of a table that has a fault, or of which the transaction
// after l.previous has changed rows that are not applied.
func (l *loop) missedFrom(t *mappedTable) string {
	switch {
	case t.Fault != nil:
		return t.Fault.Position
	case l.previous.IsZero(): // the run begins
		return l.progress.Position.String()
	}
	return l.previous.String()
}

// rebuildUnknown starts a job for a table whose columns are not known any more. The job reads them
// first, and changes of the table are not applied until then. The last known definition stays: its
// templates tell which keys are the table's.
func (l *loop) rebuildUnknown(n ddl.TableName, reason string) error {
	full := n.String()
	if t := l.tables.all[full]; l.isOffline && (t == nil || t.definition == nil) {
		return errColumnsUnknown(full, reason)
	}
	delete(l.tables.unmapped, full)
	delete(l.tables.definitions, full)
	l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+full)
	t := l.tables.put(n)
	job := l.reconcileJob(reason)
	job.NeedsSchema = true
	job.MissedFrom = l.missedFrom(t)
	if err := l.restart(t, job); err != nil {
		return err
	}
	t.Fault = nil
	l.log.Warn().Stringer("table", n).Str("reason", reason).
		Msg("the columns of a table are not known; the table is read again")
	l.stream.Forget()
	l.tablesChanged()
	return t.save(&l.unit, l.config.Name)
}

// AdoptSchema implements jobs.Host. It is called when the stream has passed the fence of d.
func (l *loop) AdoptSchema(ctx context.Context, table *jobs.Table, d *ddl.Schema) error {
	t := l.tables.all[table.FullName()]
	if t == nil || &t.Table != table {
		return nil
	}
	if d == nil {
		return l.adoptNoTable(ctx, t)
	}
	if d.NotFollowed != "" {
		// For example a MERGE table, which shows the rows of other tables.
		if err := l.scheduleSchemaCheck(ctx); err != nil {
			return err
		}
	}
	schema := d.Table()
	job := t.Job
	job.NeedsSchema = false
	plan, err := l.tables.compile(schema)
	var notMapped *transform.NotMappedError
	switch {
	// Has the table no keys in the sink? Keys without a table would stay for ever.
	case errors.As(err, &notMapped) && t.Plan == nil && len(t.former) == 0:
		l.tables.define(t, d, schema, nil)
		l.tables.unmap(t, notMapped.Reason)
		l.log.Warn().Str("table", t.FullName()).Str("reason", notMapped.Reason).
			Msg("table is not mapped")
		t.drop(&l.unit, l.config.Name)
		err = l.tables.saveUnmapped(&l.unit, l.config.Name, t.FullName())
	case err == nil && plan == nil:
		err = errors.New("the mapping does not match it any more")
		fallthrough
	case err != nil:
		l.tables.define(t, d, schema, nil)
		err = l.quarantine(t, err)
	case t.mismatched != nil && t.mismatched.Table().Equal(schema):
		l.tables.define(t, d, schema, plan)
		err = l.quarantine(t, fmt.Errorf("its rows in the binlog do not fit its definition, "+
			"and the definition was read again; alter it, or leave it out (ignore: true)"))
	default:
		l.tables.define(t, d, schema, plan)
		t.Job = job
		if err = query.CheckKey(schema, jobs.Order(schema, plan)); err != nil {
			err = l.quarantine(t, err)
			break
		}
		if err = l.makeGapOfEntries(t, job.MissedFrom); err != nil {
			break
		}
		err = t.save(&l.unit, l.config.Name)
	}
	if err != nil {
		return err
	}
	if err := l.tables.checkConflicts(); err != nil {
		return err
	}
	l.tablesChanged()
	l.stream.Forget()
	return l.flush(ctx)
}

// adoptNoTable handles a table that a job has not found on the server.
func (l *loop) adoptNoTable(ctx context.Context, t *mappedTable) error {
	// A table that may not be read looks as if it was dropped.
	if err := l.schemas.CheckGrants(ctx); err != nil {
		return err
	}
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	switch hasKeys := t.Plan != nil || len(t.former) > 0; {
	case rule.OnDrop != transform.StopAtRemoval:
		var heirs []*transform.Plan
		if heirs, err = l.adoptUnlogged(ctx, t); err == nil {
			err = l.tableGone(ctx, t.name(), t, "DROP", heirs)
		}
	case hasKeys:
		// The statement was skipped or is not in the binlog, so a stop before it is not possible.
		err = l.quarantine(t, errStopAtDrop)
	default:
		l.tables.remove(t)
		t.drop(&l.unit, l.config.Name)
		err = l.recordDropped(t.name())
	}
	if err != nil {
		return err
	}
	l.tablesChanged()
	return l.flush(ctx)
}

// handleLookups starts jobs for the tables that the stream has met and whose columns are not known:
// tables that no statement has created, and tables whose table map did not fit. The rows that were
// skipped are in what the job reads.
func (l *loop) handleLookups(ctx context.Context) error {
	if err := l.handleSupplied(ctx); err != nil {
		return err
	}
	if len(l.tables.unknown)+len(l.tables.mismatched) == 0 {
		return nil
	}
	var names []ddl.TableName // tables whose foreign keys may have changed, too
	for n := range l.tables.unknown {
		names = append(names, n)
		if err := l.rebuildUnknown(n, "rows without a CREATE TABLE"); err != nil {
			return err
		}
	}
	for t, reason := range l.tables.mismatched {
		rule, err := l.ruleOf(t)
		if err != nil {
			return err
		}
		if rule.OnError == transform.StopAtError {
			return &StopError{Err: reason}
		}
		t.mismatched = t.definition
		names = append(names, t.name())
		if err := l.rebuildUnknown(t.name(), reason.Error()); err != nil {
			return err
		}
	}
	clear(l.tables.unknown)
	clear(l.tables.mismatched)
	if err := l.checkForeignKeys(ctx, foreignKeyCheck{names: names}); err != nil {
		return err
	}
	l.tablesChanged()
	return l.flush(ctx)
}

// startJobs makes the engine run the jobs of all tables that have one.
func (l *loop) startJobs(ctx context.Context) {
	l.jobsChanged = false
	if l.isOffline {
		return
	}
	var tables []*jobs.Table
	for _, name := range l.tables.names() {
		if t := l.tables.all[name]; t.Fault == nil {
			tables = append(tables, &t.Table)
		}
	}
	l.jobs.Add(ctx, tables...)
}

// finishInitialLoad ends the phases in which all tables are read, once every table is complete.
func (l *loop) finishInitialLoad(ctx context.Context) error {
	if !l.isLoading() || l.jobs.IsReadingTables() {
		return nil
	}
	incomplete := 0
	for _, t := range l.tables.all {
		switch {
		case t.Fault != nil || t.Job.Cancelled:
			incomplete++
		case !t.Job.Done && !t.Job.Skipped:
			return nil
		}
	}
	l.progress.Phase, l.repeatDue = sink.Streaming, true
	l.tablesChanged()
	if err := l.flush(ctx); err != nil {
		return err
	}
	if incomplete > 0 {
		l.log.Warn().Stringer("position", l.progress.Position).Int("incomplete", incomplete).
			Msg("every table is complete, except those in quarantine and those whose job was " +
				"cancelled; ROWFALL STATUS lists them")
		return nil
	}
	l.log.Info().Stringer("position", l.progress.Position).Msg("every table is complete")
	return nil
}

var _ jobs.Host = (*loop)(nil)

// Position implements jobs.Host.
func (l *loop) Position() *binlog.Position { return l.stream.Position() }

// Wake implements jobs.Host.
func (l *loop) Wake() { l.stream.Wake() }

// Commands implements jobs.Host.
func (l *loop) Commands() *transform.Commands { return &l.unit.Commands }

// Flush implements jobs.Host. It does nothing if the unit is empty.
func (l *loop) Flush(ctx context.Context) error {
	if l.unit.IsEmpty() {
		return nil
	}
	return l.flush(ctx)
}

// FlushIfLarge implements jobs.Host.
func (l *loop) FlushIfLarge(ctx context.Context, n, limit int) (bool, error) {
	if n < limit && l.unit.Size() < l.config.Limits.MaxAtomicBytes {
		return false, nil
	}
	return true, l.Flush(ctx)
}

// Sink implements jobs.Host.
func (l *loop) Sink() sink.Reader { return l.sink }

// Now implements jobs.Host.
func (l *loop) Now() int64 { return l.sink.Now() }

// Expiry implements jobs.Host.
func (l *loop) Expiry() sink.Expiry {
	return sink.Expiry{Now: l.Now(), FieldsKey: []byte(l.config.Mapping.FieldExpiry)}
}

// Pipeline implements jobs.Host.
func (l *loop) Pipeline() string { return l.config.Name }

// SaveJob implements jobs.Host.
func (l *loop) SaveJob(table *jobs.Table) error {
	t := l.tables.all[table.FullName()]
	if t == nil || &t.Table != table {
		return nil
	}
	isDone := t.Job.Done
	l.tables.removeFormerDue = l.tables.removeFormerDue || isDone
	l.repeatDue = l.repeatDue || isDone && t.Job.Again != ""
	if isDone {
		t.endCascadeJob(time.Now())
		if t.Job.Again == "" {
			t.Job.MissedFrom = ""
		}
		if err := l.closeGapsByJob(t); err != nil {
			return err
		}
		if err := l.readLetters(t); err != nil {
			return err
		}
	}
	if isDone || t.Job.Sweep != nil && t.Job.Sweep.Waiting {
		t.mismatched = nil
		l.tablesChanged()
	} else {
		l.recordJobs()
	}
	return t.saveJob(&l.unit, l.config.Name)
}

// jobsInterval is how often the progress of jobs is recorded.
const jobsInterval = 200 * time.Millisecond

// Report implements jobs.Host.
func (l *loop) Report(rows, expected int64) {
	l.stats.loaded.Store(rows)
	l.stats.expected.Store(expected)
}
