package pipelines

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
)

// A gap is a stretch of the binlog whose changes were not applied, because a user requested that.
// The gap is stored in the unit that moves the position past it, and stays until a job has
// reconciled every table that the gap concerns.

// loadGaps reads the open gaps from the pieces of state.
func (l *loop) loadGaps(pieces map[string][]byte) (err error) {
	if l.gaps, err = tablestate.DecodeGaps(pieces[tablestate.GapsPiece]); err != nil {
		return corrupt("gaps", err)
	}
	return nil
}

// saveGaps puts the open gaps into the unit.
func (l *loop) saveGaps() error {
	text, err := tablestate.EncodeGaps(&l.gaps)
	if err != nil {
		return err
	}
	l.unit.SetState(l.config.Name, tablestate.GapsPiece, text)
	l.showGaps()
	return nil
}

// showGaps updates what status and the position hash show of the gaps.
func (l *loop) showGaps() {
	open := l.gaps.Visible()
	l.stats.gaps.Store(&open)
	l.progress.Gaps = ""
	if len(open) > 0 {
		text, _ := json.Marshal(open) // texts and numbers can always be encoded
		l.progress.Gaps = string(text)
	}
}

// makeGap records a gap in the unit. The gap concerns those of the given tables that are mapped; if
// none of them is mapped, makeGap records nothing. From now on the sink's rows of the mapped ones
// may be stale, so their changes are written as full rows.
func (l *loop) makeGap(gap tablestate.Gap, tables []string) error {
	var mapped []string
	for _, name := range tables {
		if l.tables.all[name] != nil {
			mapped = append(mapped, name)
		}
	}
	if len(mapped) == 0 {
		l.log.Warn().Str("cause", gap.Cause).Str("from", gap.From).Str("to", gap.To).
			Msg("changes are left out; they concern no mapped table")
		return nil
	}
	gap.Time = time.Now().UnixMicro()
	gap = l.gaps.Add(gap, mapped)
	for _, name := range gap.Tables {
		if err := l.markIncomplete(l.tables.all[name], gap.ID); err != nil {
			return err
		}
	}
	shown := strings.Join(gap.Tables, " ")
	if gap.All {
		shown = "all"
	}
	l.log.Warn().Int("gap", gap.ID).Str("cause", gap.Cause).Str("from", gap.From).
		Str("to", gap.To).Str("tables", binlog.Clip(shown, maxLoggedTables)).
		Str("reason", gap.Reason).
		Msg("changes are left out, which makes a gap; close it with rowfall backfill")
	l.tablesChanged()
	return l.saveGaps()
}

// makeGapOfMissing records the gap of transactions that binlog files do not contain. The position
// has moved past them.
func (l *loop) makeGapOfMissing() error {
	return l.makeGap(tablestate.Gap{
		Cause: tablestate.CauseMissing, From: l.previous.String(),
		To: l.progress.Position.String(), All: true,
		Reason: "the binlog files do not contain these transactions: gtid_purged was set",
	}, l.tables.names())
}

// maxLoggedTables limits the names of tables in a log line, in bytes.
const maxLoggedTables = 1000

// markIncomplete records that the sink's rows of a table may be stale because of a gap.
func (l *loop) markIncomplete(t *mappedTable, gap int) error {
	switch {
	case t.Fault != nil, t.Job.Skipped:
		return nil // no deltas are written until a job begins
	case t.Job.NeedsSchema:
		t.Job.Gap = gap // the job has read no row yet
	case t.Job.Done:
		t.Restart(tablestate.Job{Skipped: true, ID: t.Job.ID})
	default:
		return nil // closeGapsByJob checks for the gap when the job is done
	}
	return t.saveJob(&l.unit, l.config.Name)
}

// closeGapsByJob is called when the job of a table is done. A job that has read and swept the whole
// table closes the gaps that were made before the job began. If a gap was made while the job ran,
// the table is not complete.
func (l *loop) closeGapsByJob(t *mappedTable) error {
	upTo := 0
	if t.Job.Compare && t.Job.Sweep != nil {
		upTo = t.Job.Gap
	}
	// Entries that are missing in a list or a stream do not come back. The user's next backfill
	// acknowledges that; other jobs do not.
	if err := l.closeGapsOf(t.FullName(), upTo, t.Job.Reason == reasonBackfill); err != nil {
		return err
	}
	if l.gaps.Concerns(t.FullName(), 0) {
		t.Job = tablestate.Job{Skipped: true, ID: t.Job.ID, Rows: t.Job.Rows}
		l.log.Warn().Str("table", t.FullName()).
			Msg("changes were left out while a job read the table; read it again with " +
				"rowfall backfill")
	}
	return nil
}

// closeGapsOf removes a table from the gaps with numbers up to upTo. The caller has compared
// everything that the sink holds of the table with the source after these gaps were made, or has
// removed it (TRUNCATE). entries is set if gaps of missing entries are closed, too.
func (l *loop) closeGapsOf(table string, upTo int, entries bool) error {
	changed, closed := l.gaps.CloseTable(table, upTo, entries)
	if !changed {
		return nil
	}
	l.log.Info().Str("table", table).Int("gaps_left", len(l.gaps.Open)).
		Msg("a table is reconciled and removed from the gaps that were made before")
	l.logClosed(closed)
	return l.saveGaps()
}

// removeUnmappedFromGaps removes tables that are no longer mapped from the gaps.
func (l *loop) removeUnmappedFromGaps() {
	if len(l.gaps.Open) == 0 {
		return
	}
	changed, closed := l.gaps.Keep(func(name string) bool { return l.tables.all[name] != nil })
	if !changed {
		return
	}
	l.logClosed(closed)
	if err := l.saveGaps(); err != nil {
		l.log.Error().Err(err).Msg("gaps are not stored")
	}
}

func (l *loop) logClosed(closed []tablestate.Gap) {
	for i := range closed {
		g := &closed[i]
		l.log.Warn().Int("gap", g.ID).Str("cause", g.Cause).Str("from", g.From).
			Str("to", g.To).Msg("a gap is closed")
	}
}

// makeGapByMove records the gap that --from makes by moving the position from old to l.progress.
func (l *loop) makeGapByMove(old *binlog.Position) error {
	at := &l.progress.Position
	if len(l.gaps.Open) >= tablestate.MaxGaps {
		return stop("--from %s: there are %d gaps, and no more can be recorded; "+
			"close them with rowfall backfill, or start with --from snapshot",
			l.from, len(l.gaps.Open))
	}
	gap := tablestate.Gap{
		Cause: tablestate.CauseFrom, From: old.String(), To: at.String(), All: true,
	}
	if !areComparable(old, at) {
		gap.Reason = fmt.Sprintf("%s and %s cannot be compared, so changes between them may be "+
			"missing", old, at)
	}
	return l.makeGap(gap, l.tables.names())
}

// canMakeGap returns an error if the cancellation of a job makes a gap and there are too many.
// missedFrom is that of the job.
func (l *loop) canMakeGap(job int, missedFrom string) error {
	n := len(l.gaps.Open) + len(l.skips)
	if missedFrom == "" || n < tablestate.MaxGaps {
		return nil
	}
	return fmt.Errorf("cancel job %d: that makes a gap, there are %d gaps and requests, "+
		"and no more can be recorded; close gaps with rowfall backfill first", job, n)
}

// makeGapByCancel records the gap that the cancellation of a table's job makes, if changes from
// missedFrom on are missing without the job. t.Job describes the cancelled job.
func (l *loop) makeGapByCancel(t *mappedTable, missedFrom string) error {
	if missedFrom == "" {
		return nil
	}
	return l.makeGap(tablestate.Gap{
		Cause: tablestate.CauseCancel, From: missedFrom, To: l.progress.Position.String(),
		Reason: fmt.Sprintf("job %d was cancelled: %s", t.Job.ID, t.Job.Reason),
	}, []string{t.FullName()})
}

// areComparable reports whether two positions can be compared: both have GTIDs of one kind, or both
// are in binlog files with the same base name.
func areComparable(a, b *binlog.Position) bool {
	if !a.GTID.IsZero() && !b.GTID.IsZero() {
		return a.GTID.IsMySQL() == b.GTID.IsMySQL()
	}
	return a.File != "" && b.File != "" && binlog.BaseName(a.File) == binlog.BaseName(b.File)
}
