package pipelines

import (
	"maps"
	"slices"
	"time"

	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// This file starts the jobs that read whole tables again after a foreign key has changed their rows
// without row events. MySQL cannot find the rows afterwards: they were deleted, or their columns
// were set to NULL or the default. Where the sink can find them, only these rows are read, see
// reference_scan.go.
//
// A job that begins after the transaction with the parent's change reads the rows that the foreign
// key has changed. So a table whose job has not begun needs no other job. If the job has begun,
// Job.Again requests one more job after it, for any number of such changes.
//
// A job begins after a pause, so that the changes of many transactions in succession need one job.
// If such changes do not end, the pause is as long as the last job took, so that the table is read
// during half of the time.

// cascadePause is the shortest pause before a job, and longestCascadePause the longest. A variable
// for tests.
var cascadePause = time.Second

const longestCascadePause = time.Minute

// reconcileCascades requests jobs for the tables in which the transaction has changed rows without
// row events. It is called at the end of the transaction, whose unit stores the requests.
func (l *loop) reconcileCascades() error {
	if err := l.findDeleted(); err != nil {
		return err
	}
	due := l.tables.cascades.due
	if len(due) == 0 {
		return nil
	}
	defer clear(due)
	changed := false
	for _, full := range slices.Sorted(maps.Keys(due)) {
		if t := l.tables.all[full]; t != nil {
			started, err := l.readAgain(t, due[full])
			if err != nil {
				return err
			}
			changed = changed || started
		}
	}
	if changed {
		l.tablesChanged()
	}
	return nil
}

// readAllAgain calls readAgain for each of the tables.
func (l *loop) readAllAgain(tables map[string]bool, reason string) error {
	for _, full := range slices.Sorted(maps.Keys(tables)) {
		if t := l.tables.all[full]; t != nil {
			if _, err := l.readAgain(t, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAgain ensures that a job reads a table after the present position. It reports whether it has
// requested a new job.
func (l *loop) readAgain(t *mappedTable, reason string) (bool, error) {
	switch {
	// Will a job that has not begun yet read every row?
	case t.Fault != nil || t.Job.NeedsSchema || t.Plan == nil || t.WillReadEveryRow():
		return false, nil
	case t.isJobOver() && !l.isLoading():
		l.startCascadeJob(t, reason)
		t.Job.MissedFrom = l.missedFrom(t)
	case t.Job.Again != "" && !t.isNarrow():
		return false, nil
	default:
		t.Job.References, t.Job.KeysOnly = nil, false
		t.Job.Again = reason
		if t.Job.MissedFrom == "" {
			t.Job.MissedFrom = l.missedFrom(t)
		}
	}
	return true, t.saveJob(&l.unit, l.config.Name)
}

// isJobOver reports whether the table has no job that is still to read rows.
func (t *mappedTable) isJobOver() bool { return t.Job.Done || t.Job.Skipped }

// isLoading reports whether all tables are being read. Meanwhile no table is read a second time, so
// that the load ends even if parent rows are deleted all the time.
func (l *loop) isLoading() bool {
	return l.progress.Phase == sink.Snapshot || l.progress.Phase == sink.Rebuilding
}

// startCascadeJob starts a job that reads a table again. The job may remove more than half of the
// table's keys without a confirmation, because an ordinary DELETE in the parent can cause that.
func (l *loop) startCascadeJob(t *mappedTable, reason string) {
	l.log.Info().Str("table", t.FullName()).Str("reason", reason).Msg("a table is read again")
	job := l.reconcileJob(reason)
	job.Sweep = &tablestate.Sweep{Confirmed: true}
	t.Restart(job)
	t.scheduleCascade()
	t.Delay(t.cascadeBegan)
}

// scheduleCascade determines when the table's next job after a cascade may begin.
func (t *mappedTable) scheduleCascade() {
	t.cascadeBegan = time.Now().Add(cascadePause)
	if t.restUntil.After(t.cascadeBegan) {
		t.cascadeBegan = t.restUntil
	}
}

// endCascadeJob is called when a job of the table is done. It determines when the next job may
// begin.
func (t *mappedTable) endCascadeJob(now time.Time) {
	if !t.cascadeBegan.IsZero() {
		t.restUntil = now.Add(min(now.Sub(t.cascadeBegan), longestCascadePause))
		t.cascadeBegan = time.Time{}
	}
}

// repeatJobs starts the jobs that had to wait for another job of their table.
func (l *loop) repeatJobs() error {
	if !l.repeatDue || l.isLoading() {
		return nil
	}
	l.repeatDue = false
	changed := false
	for _, full := range l.tables.names() {
		t := l.tables.all[full]
		if t.Job.Again == "" || t.isNarrow() || t.Fault != nil || !t.isJobOver() {
			continue
		}
		l.startCascadeJob(t, t.Job.Again)
		if err := t.saveJob(&l.unit, l.config.Name); err != nil {
			return err
		}
		changed = true
	}
	if changed {
		l.tablesChanged()
		l.stream.Wake()
	}
	return nil
}
