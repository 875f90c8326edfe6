package pipelines

import (
	"time"

	"rowfall/pipelines/tablestate"
)

// Outputs of kind list and stream get an entry for each change that the stream applies. A job that
// reads a table again makes its rows complete, but it cannot make the entries of changes that were
// not applied. This file records gaps for such entries.

// makeGapOfEntries records the changes of a table between a position and the present one if they
// were not applied, and the table has an output of kind list or stream.
func (l *loop) makeGapOfEntries(t *mappedTable, from string) error {
	to := l.progress.Position.String()
	if from == "" || from == to || t.Plan == nil || !t.Plan.KeepsEntries() {
		return nil
	}
	return l.addGapOfEntries(tablestate.Gap{
		Cause: tablestate.CauseQuarantine, From: from, To: to,
		Reason: "lists and streams have no entries for these changes",
	}, []string{t.FullName()})
}

// restart gives a table another job. If that replaces an initial load which is not finished, and
// outputs of the table get an entry for each row that the initial load reads, restart records a
// gap: no other job makes such entries.
func (l *loop) restart(t *mappedTable, job tablestate.Job) error {
	isLoad := t.Job.ID == 0 && !t.Job.Done && !t.Job.Skipped && !t.Job.Compare
	hasEntries := t.Plan != nil && t.Plan.ActsOnLoad()
	t.Restart(job)
	if !isLoad || !hasEntries || !job.Compare {
		return nil
	}
	at := l.progress.Position.String()
	return l.addGapOfEntries(tablestate.Gap{
		Cause: tablestate.CauseLoad, From: at, To: at,
		Reason: "the initial load was not finished, so lists and streams with snapshot: true " +
			"have no entries for some rows",
	}, []string{t.FullName()})
}

// makeGapByRebuild records the changes between the old position of the data and the present one,
// for the tables that the data had and that have an output of kind list or stream.
func (l *loop) makeGapByRebuild(from string, old *tableSet) error {
	var tables []string
	for _, name := range l.tables.names() {
		p := l.tables.all[name].Plan
		if p != nil && p.KeepsEntries() && old.all[name] != nil {
			tables = append(tables, name)
		}
	}
	to := l.progress.Position.String()
	if len(tables) == 0 || from == to {
		return nil
	}
	return l.addGapOfEntries(tablestate.Gap{
		Cause: tablestate.CauseFrom, From: from, To: to,
		Reason: "every table is read again, and lists and streams have no entries for these " +
			"changes",
	}, tables)
}

// addGapOfEntries records a gap of missing entries in the unit.
func (l *loop) addGapOfEntries(gap tablestate.Gap, tables []string) error {
	gap.Time = time.Now().UnixMicro()
	gap = l.gaps.AddEntries(gap, tables)
	l.log.Warn().Int("gap", gap.ID).Str("cause", gap.Cause).Str("from", gap.From).
		Str("to", gap.To).Strs("tables", tables).Str("reason", gap.Reason).
		Msg("entries of lists or streams are missing, which makes a gap; " +
			"rowfall backfill acknowledges that and closes the gap")
	return l.saveGaps()
}
