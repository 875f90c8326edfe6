package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// This file implements jobs.KeyStore for the loop, and stores the keys jobs of tables. A keys job
// reads some rows of a table, by their keys.

// NewJob implements jobs.Host.
func (l *loop) NewJob() int {
	l.lastJob++
	return l.lastJob
}

// SaveKeys implements jobs.Host.
func (l *loop) SaveKeys(table *jobs.Table) error {
	t := l.mapped(table)
	if t == nil {
		return nil
	}
	l.recordJobs()
	if t.Keys == nil {
		l.narrow.next = time.Time{} // the table may have waited for the end of the job
	}
	return t.saveKeys(&l.unit, l.config.Name)
}

// mapped returns the mapped table that a jobs.Table is a part of; nil if it is not mapped any more.
func (l *loop) mapped(table *jobs.Table) *mappedTable {
	t := l.tables.all[table.FullName()]
	if t == nil || &t.Table != table {
		return nil
	}
	return t
}

// SetKeyBlock implements jobs.Host.
func (l *loop) SetKeyBlock(t *jobs.Table, n int, block []byte) {
	l.unit.SetBlock(l.config.Name, tablestate.KeyBlock(t.FullName(), n), block)
}

// KeyBlock implements jobs.Host.
func (l *loop) KeyBlock(ctx context.Context, t *jobs.Table, n int) ([]byte, error) {
	return sink.ReadBlock(ctx, l.sink, l.config.Name, tablestate.KeyBlock(t.FullName(), n))
}

// Reconcile implements jobs.Host.
func (l *loop) Reconcile(table *jobs.Table, reason string) error {
	t := l.mapped(table)
	if t == nil {
		return nil
	}
	l.log.Info().Str("table", t.FullName()).Str("reason", reason).
		Msg("the table is read again as a whole")
	if err := l.restart(t, l.reconcileJob(reason)); err != nil {
		return err
	}
	l.tablesChanged()
	return t.saveJob(&l.unit, l.config.Name)
}

// saveKeys puts the changes of the table's Keys into a unit.
func (t *mappedTable) saveKeys(u *sink.Unit, pipeline string) error {
	full := t.FullName()
	changed, first, next := t.TakeKeyChanges()
	for n := first; n < next; n++ {
		u.DropBlock(pipeline, tablestate.KeyBlock(full, n))
	}
	switch {
	case !changed:
		return nil
	case t.Keys == nil:
		u.DropState(pipeline, tablestate.KeysPrefix+full)
		return nil
	}
	return saveJSON(u, pipeline, tablestate.KeysPrefix+full, t.Keys)
}

// recordJobs updates the jobs in the stats, at most once per jobsInterval. If it is called more
// often, idle makes the last update.
func (l *loop) recordJobs() {
	l.jobsUnrecorded = time.Since(l.jobsRecorded) < jobsInterval
	if !l.jobsUnrecorded {
		l.jobsRecorded = time.Now()
		l.stats.recordJobs(l.tables)
	}
}

// loadKeys decodes the table's Keys from the pieces of state.
func (t *mappedTable) loadKeys(pieces map[string][]byte) error {
	text := pieces[tablestate.KeysPrefix+t.FullName()]
	if text == nil {
		return nil
	}
	k := new(tablestate.Keys)
	if err := json.Unmarshal(text, k); err != nil {
		return corrupt("keys job of "+t.FullName(), err)
	}
	t.RestoreKeys(k)
	return nil
}

// keysJob returns the table's keys job as users see it; nil without a keys job.
func (t *mappedTable) keysJob() *Job {
	k := t.Keys
	if k == nil {
		return nil
	}
	j := &Job{
		ID: k.ID, Table: t.FullName(), Reason: k.Reason, State: "reading rows by their keys",
		Rows: k.Rows, Estimate: k.Rows + k.Count,
	}
	switch {
	case t.Fault != nil:
		j.State = "in quarantine"
	case !t.Job.Done && !t.Job.Skipped:
		j.State = "waiting for the table's other job"
	case k.Sweep != nil:
		j.describeSweep(k.Sweep)
	}
	return j
}

// hasKeysJob reports whether the table's keys job has a number.
func (t *mappedTable) hasKeysJob(id int) bool { return t.Keys != nil && t.Keys.ID == id }

// cancelKeys ends the keys job of a table.
func (l *loop) cancelKeys(t *mappedTable) error {
	if !t.Job.Done && !t.Job.Skipped {
		return fmt.Errorf("job %d waits for job %d of %s; wait for it, or cancel it first",
			t.Keys.ID, t.Job.ID, t.FullName())
	}
	id, reason, missedFrom := t.Keys.ID, t.Keys.Reason, t.Job.MissedFrom
	if err := l.canMakeGap(id, missedFrom); err != nil {
		return err
	}
	t.CancelKeys()
	// Rows that were not read may be stale. Skipped makes later changes be written as full rows.
	if t.Job.Compare = true; t.Job.Done {
		t.Job = tablestate.Job{
			Skipped: true, Cancelled: true, Compare: true, ID: id, Reason: reason,
		}
		if err := l.makeGapByCancel(t, missedFrom); err != nil {
			return err
		}
	}
	return t.saveJob(&l.unit, l.config.Name)
}

// confirmKeys lets a keys job remove the keys and members without a row that it has counted.
func (l *loop) confirmKeys(t *mappedTable) error {
	if t.Keys.Sweep == nil || !t.Keys.Sweep.Waiting {
		return fmt.Errorf("job %d does not wait for a confirmation", t.Keys.ID)
	}
	t.ConfirmKeys()
	l.jobsChanged = true
	return t.saveKeys(&l.unit, l.config.Name)
}
