package pipelines

import (
	"maps"
	"slices"

	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// This file starts the jobs that read tables again whose rows a foreign key has changed without row
// events. The rows that refer to a deleted row are not known afterwards, since they are gone or
// refer to nothing, so the whole table is read.
//
// A job that is requested after the transaction of the parent's change reads its effects. So a
// table whose job has not begun needs no other; for one whose job has begun, Job.Again makes
// another follow, however many such changes come meanwhile.

// reconcileCascades makes the tables be read again that the transaction has changed without row
// events. It is called at the transaction's end, and its state is in the transaction's unit.
func (l *loop) reconcileCascades() error {
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

// readAllAgain makes tables be read again for one reason.
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

// readAgain makes a table be read again by a job that begins after the present position. It reports
// whether that needs a job that was not due already.
func (l *loop) readAgain(t *mappedTable, reason string) (bool, error) {
	switch {
	// Will a job read every row that has not begun?
	case t.Fault != nil || t.Job.NeedsSchema || t.Plan == nil || t.WillReadEveryRow():
		return false, nil
	case t.isJobOver() && !l.isLoading():
		l.startCascadeJob(t, reason)
	case t.Job.Again != "":
		return false, nil
	default:
		t.Job.Again = reason
	}
	return true, t.saveJob(&l.unit, l.config.Name)
}

// isJobOver reports whether no job reads the table's rows.
func (t *mappedTable) isJobOver() bool { return t.Job.Done || t.Job.Skipped }

// isLoading reports whether all tables are being read. Until that is done no table begins again, so
// that it ends however often rows of parents are deleted.
func (l *loop) isLoading() bool {
	return l.progress.Phase == sink.Snapshot || l.progress.Phase == sink.Rebuilding
}

// startCascadeJob starts a job that reads a table again. It needs no confirmation to remove more
// than half of the table's keys: that is what an ordinary DELETE of the parent does.
func (l *loop) startCascadeJob(t *mappedTable, reason string) {
	l.log.Info().Str("table", t.FullName()).Str("reason", reason).Msg("a table is read again")
	job := l.reconcileJob(reason)
	job.Sweep = &tablestate.Sweep{Confirmed: true}
	t.Restart(job)
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
		if t.Job.Again == "" || t.Fault != nil || !t.isJobOver() {
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
