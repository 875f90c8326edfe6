package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/transform/suggest"
)

const (
	// maxRequests is how many requests may wait for the loop.
	maxRequests = 16
	// requestTimeout limits how long a request waits for the loop.
	requestTimeout = 30 * time.Second
)

// request is a user's request to the running loop, which executes it between transactions.
type request struct {
	execute func(ctx context.Context, l *loop) error
	result  chan error // of one element
}

// submit executes a request in the loop and returns its error.
func (p *Pipeline) submit(
	ctx context.Context, execute func(context.Context, *loop) error,
) error {
	wake := p.wake.Load()
	if wake == nil {
		return fmt.Errorf("the pipeline is not streaming at the moment; "+
			"`rowfall status %s` shows why", p.config.Path)
	}
	r := request{execute, make(chan error, 1)}
	deadline := time.NewTimer(requestTimeout)
	defer deadline.Stop()
	select {
	case p.requests <- r:
		(*wake)()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-deadline.C:
		return fmt.Errorf("the pipeline did not execute the request within %v", requestTimeout)
	}
	select {
	case err := <-r.result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-deadline.C:
		return fmt.Errorf("the pipeline did not execute the request within %v; it may still do so",
			requestTimeout)
	}
}

// handleRequests executes the requests that wait.
func (l *loop) handleRequests(ctx context.Context) error {
	if err := l.handleSkips(ctx); err != nil {
		return err
	}
	for len(l.requests) > 0 {
		r := <-l.requests
		err := r.execute(ctx, l)
		if err == nil {
			l.tablesChanged() // so that the user finds the job at once
		}
		r.result <- err
		if err == nil {
			if err := l.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Backfill makes the running pipeline read a table again, which also ends the table's quarantine.
// table is database.table. Backfill returns the number of the job. Its error means that no job was
// started, unless the loop did not answer in time.
func (p *Pipeline) Backfill(ctx context.Context, table string) (job int, err error) {
	var started int // belongs to the loop until submit returns without an error
	err = p.submit(ctx, func(_ context.Context, l *loop) error {
		t, err := l.tables.named(table)
		if err != nil {
			return err
		}
		if err := l.backfill(t.name()); err != nil {
			return err
		}
		started = l.lastJob
		return nil
	})
	if err != nil {
		return 0, err
	}
	return started, nil
}

// named returns a mapped table by its full name.
func (s *tableSet) named(table string) (*mappedTable, error) {
	if t := s.all[table]; t != nil {
		return t, nil
	}
	return nil, s.errNotMapped(table)
}

// errNotMapped is the error of a request for a table that is not mapped.
func (s *tableSet) errNotMapped(table string) error {
	if !strings.Contains(table, ".") {
		return fmt.Errorf("table %q: want DATABASE.TABLE%s", table, s.withDatabase(table))
	}
	return fmt.Errorf("table %q is not mapped%s", table, suggest.DidYouMean(table, s.names()))
}

// withDatabase suggests the mapped tables that have the given name in any database.
func (s *tableSet) withDatabase(table string) string {
	var found []string
	for _, full := range s.names() {
		if strings.EqualFold(s.all[full].name().Table, table) {
			found = append(found, strconv.Quote(full))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(found, " or ") + "?"
}

// backfill starts a job for a table. A table in quarantine is read with its present definition.
func (l *loop) backfill(n ddl.TableName) error {
	t := l.tables.all[n.String()]
	if t.Fault != nil || t.Job.NeedsSchema {
		t.mismatched = nil
		return l.rebuildUnknown(n, reasonBackfill)
	}
	return l.redefine(t, t.definition, l.reconcileJob(reasonBackfill))
}

// reasonBackfill is the reason of a job that a user has requested.
const reasonBackfill = "backfill"

// Job is a job of a table, or a search for rows, as users see it.
type Job struct {
	ID    int    `json:"id"`
	Table string `json:"table"`
	// Reason is why the job runs. State is "reading the definition", "reading", "sweeping",
	// "removing", "waiting for confirm", "in quarantine" or "cancelled"; see keysJob and searchJob
	// for further ones. A cancelled job is listed until another job reads the table.
	Reason string `json:"reason"`
	State  string `json:"state"`
	// Rows counts the rows read so far, Estimate estimates them at the end.
	Rows     int64 `json:"rows"`
	Estimate int64 `json:"estimate"`
	// Stale counts the keys found so far that no row writes, among Checked.
	Stale   int64 `json:"stale"`
	Checked int64 `json:"checked"`
}

// ConfirmJob lets a job continue that waits because it would remove more than half of a table's
// keys.
func (p *Pipeline) ConfirmJob(ctx context.Context, id int) error {
	return p.submit(ctx, func(_ context.Context, l *loop) error { return l.confirmJob(id) })
}

// confirmJob is ConfirmJob, in the loop.
func (l *loop) confirmJob(id int) error {
	t, err := l.tableOfJob(id)
	if err != nil {
		return err
	}
	if t.hasKeysJob(id) {
		return l.confirmKeys(t)
	}
	if t.Job.Sweep == nil || !t.Job.Sweep.Waiting {
		return fmt.Errorf("job %d does not wait for a confirmation", id)
	}
	t.Job.Sweep = &tablestate.Sweep{Reached: true, Remove: true, Confirmed: true}
	l.jobsChanged = true
	return t.saveJob(&l.unit, l.config.Name)
}

// CancelJob ends a job. Stale keys that the job has not removed stay, and rows that it has not read
// stay as they are, so the table is not complete until another job has read it. All jobs of the
// initial load have the number 0, so they cannot be cancelled.
func (p *Pipeline) CancelJob(ctx context.Context, id int) error {
	return p.submit(ctx, func(_ context.Context, l *loop) error { return l.cancelJob(id) })
}

// cancelJob is CancelJob, in the loop.
func (l *loop) cancelJob(id int) error {
	if id == 0 {
		return errors.New("cancel job 0: all jobs of the initial load have this number; " +
			"start a job for the table with rowfall backfill, and cancel that one")
	}
	if s := l.tables.searchOf(id); s != nil {
		l.dropSearch(s)
		return nil
	}
	t, err := l.tableOfJob(id)
	if err != nil {
		return err
	}
	if t.hasKeysJob(id) {
		return l.cancelKeys(t)
	}
	if t.Job.NeedsSchema || t.Fault != nil {
		return fmt.Errorf("job %d cannot be cancelled: "+
			"changes of %s are not applied until it is done", id, t.FullName())
	}
	missedFrom := t.Job.MissedFrom
	if err := l.canMakeGap(id, missedFrom); err != nil {
		return err
	}
	// Rows that were not read may be stale. Skipped makes later changes be written as full rows.
	t.Restart(tablestate.Job{
		Skipped: true, Cancelled: true, Compare: t.Job.Compare, ID: t.Job.ID, Reason: t.Job.Reason,
	})
	if err := l.makeGapByCancel(t, missedFrom); err != nil {
		return err
	}
	return t.saveJob(&l.unit, l.config.Name)
}

// tableOfJob returns the table with a job that is not done.
func (l *loop) tableOfJob(id int) (*mappedTable, error) {
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		switch {
		case t.hasKeysJob(id):
			return t, nil
		case t.Job.ID != id:
		case t.Job.Cancelled:
			return nil, fmt.Errorf("job %d was cancelled before; rowfall backfill reads %s again",
				id, name)
		case !t.Job.Done && !t.Job.Skipped:
			return t, nil
		}
	}
	return nil, fmt.Errorf("there is no job %d", id)
}

// jobList returns the jobs that are not done, in the order of their numbers and, with one number,
// of the tables' names.
func (s *tableSet) jobList() []Job {
	var list []Job
	for _, name := range s.names() {
		t := s.all[name]
		if j := t.keysJob(); j != nil {
			list = append(list, *j)
		}
		if t.Job.Done || t.Job.Skipped && !t.Job.Cancelled {
			continue
		}
		j := Job{
			ID: t.Job.ID, Table: name, Reason: t.Job.Reason, State: "reading",
			Rows: t.Job.Rows, Estimate: t.Expected(),
		}
		if j.Reason == "" {
			j.Reason = "initial load"
		}
		switch sweep := t.Job.Sweep; {
		case t.Fault != nil:
			j.State = "in quarantine"
		case t.Job.Cancelled:
			j.State = "cancelled"
		case t.Job.NeedsSchema:
			j.State = "reading the definition"
		case sweep == nil || !sweep.Reached:
		default:
			j.describeSweep(sweep)
		}
		list = append(list, j)
	}
	for _, o := range s.searches {
		list = append(list, searchJob(o))
	}
	slices.SortStableFunc(list, func(a, b Job) int { return a.ID - b.ID })
	return list
}

// describeSweep sets the fields of a job that sweeps.
func (j *Job) describeSweep(s *tablestate.Sweep) {
	j.Stale, j.Checked = s.Stale, s.Checked
	switch {
	case s.Waiting:
		j.State = "waiting for confirm"
	case s.Remove:
		j.State = "removing"
	default:
		j.State = "sweeping"
	}
}
