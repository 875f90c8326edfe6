package jobs

import (
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// Table is a mapped table as jobs see it. The loop owns it: the loop changes Schema, Plan and Job
// between transactions, and calls Interrupt when it does.
type Table struct {
	// Database and Name are the table's name as the server stores it.
	Database, Name string
	// Schema is the table's schema at the stream's position; nil while it is not known.
	Schema *binlog.Table
	// Plan is the plan for Schema; nil while it is not known or the mapping does not fit it.
	Plan *transform.Plan
	// Job is the progress of the table's job, which is stored with the data.
	Job tablestate.Job
	// Keys is the progress of the table's keys job, which is stored with the data; nil if there is
	// none. The engine changes it, see AddKeys.
	Keys *tablestate.Keys
	// Letters are the table's dead letters, which are stored with the data.
	Letters Letters
	// Fault is why the table is in quarantine; nil if it is not. Its job does not run meanwhile,
	// because changes of the table are neither applied nor marked dirty.
	Fault *tablestate.Fault
	// Estimate is the server's estimate of the table's rows.
	Estimate int64

	// tasks are what the engine does for the table now. Several tasks are chunks of different
	// ranges.
	tasks []task
	// ranges are the parts of the table that are left to read, in the order of the key. nil means
	// that no chunk was requested since the job began or was interrupted: then they follow from
	// Job, see openRanges.
	ranges []*keyRange
	// isPaged means that a table without a key is read in pages, because it could not be read by a
	// scan.
	isPaged bool
	// cursor is where the sweep of an output continues; empty at its beginning.
	cursor sweepCursor
	// keys is the part of the keys job that is not stored.
	keys keySet
	// pausedUntil is when the next task may be requested, after pauses tasks that failed in a row.
	pausedUntil time.Time
	pauses      int
	// queued is set while the engine knows of the table.
	queued bool
	// counted and remaining are the table's parts of Engine.rows and Engine.remaining. counted is
	// about the present job only.
	counted, remaining int64
}

// FullName returns database.table.
func (t *Table) FullName() string { return t.Database + "." + t.Name }

// Order returns the columns by which a table is read: its key, else the mapping's key_columns.
func Order(schema *binlog.Table, plan *transform.Plan) []int {
	if key := schema.Key(); len(key) > 0 {
		return key
	}
	return plan.Key()
}

// Expected estimates how many rows the table's job will have read in the end.
func (t *Table) Expected() int64 {
	if t.Job.Done {
		return t.Job.Rows
	}
	return max(t.Job.Rows, t.Estimate)
}

// MarkDirty records a change of the table, so that what a job has read before the change does not
// overwrite it. Call it for every change of a table whose job is not done.
func (t *Table) MarkDirty(c *binlog.Change) error {
	for _, task := range t.tasks {
		if err := task.markDirty(c); err != nil {
			return err
		}
	}
	return nil
}

// pause delays the table's next task: by a second at first, then by up to half a minute.
func (t *Table) pause(now time.Time) {
	t.pausedUntil = now.Add(min(time.Second<<min(t.pauses, 5), 30*time.Second))
	t.pauses++
}

// Delay makes the table's next task wait until a time, unless the table is interrupted before.
func (t *Table) Delay(until time.Time) {
	if until.After(t.pausedUntil) {
		t.pausedUntil = until
	}
}

// Interrupt discards what the job has read and not written, because the table's definition or its
// rows changed without a change of each row. The job continues after the last written row.
func (t *Table) Interrupt() {
	t.rewind()
	t.pausedUntil, t.pauses = time.Time{}, 0
}

// rewind discards the tasks in flight, and makes the job continue after the last written rows, or
// at the beginning of the output that is swept.
func (t *Table) rewind() {
	for _, task := range t.tasks {
		task.base().discarded = true
	}
	t.ranges, t.cursor, t.keys.cursor = nil, sweepCursor{}, sweepCursor{}
}

// Restart begins the table's job anew. A job that reads every row replaces the keys job. The job
// also reads what the present job has not read yet.
func (t *Table) Restart(job tablestate.Job) {
	t.Interrupt()
	isOwed := t.Job.MissedFrom != "" && (!t.Job.Done || t.Job.Again != "")
	if isOwed && !job.Done && !job.Skipped {
		job.MissedFrom = t.Job.MissedFrom
	}
	t.Job, t.isPaged = job, false
	if readsEveryRow(&job) {
		t.dropKeys()
	}
	t.counted = min(t.counted, job.Rows)
}

// WillReadEveryRow reports whether the table has a job that reads every row and has not begun.
func (t *Table) WillReadEveryRow() bool {
	return readsEveryRow(&t.Job) && len(t.tasks) == 0 && t.ranges == nil
}

// readsEveryRow reports whether a job reads every row, and removes what no row writes.
func readsEveryRow(job *tablestate.Job) bool {
	return !job.Done && !job.Skipped && job.Compare && job.After == nil &&
		job.Ranges == nil && job.Sweep != nil && !job.Sweep.Reached
}
