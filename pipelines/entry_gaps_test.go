package pipelines

import (
	"errors"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// entriesPipeline returns the loop of a run whose table shop.t has the given outputs. The position
// is log:5.
func entriesPipeline(t *testing.T, write ...transform.Output) (*loop, *mappedTable) {
	t.Helper()
	source := &scriptedSource{}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	l.config.Mapping.Tables[0].Write = write
	l.tables.mapping = &l.config.Mapping
	m, err := l.tables.add(ddl.FromTable(intTable()))
	if err != nil {
		t.Fatal(err)
	}
	m.Job = tablestate.Job{Done: true}
	l.progress.Position = binlog.Position{File: "log", Offset: 5}
	return l, m
}

var (
	rowOutput  = transform.Output{Kind: transform.Hash, Key: "t:{id}"}
	listOutput = transform.Output{Kind: transform.List, Key: "l", Value: "{id}"}
)

// finishJob ends the job of a table.
func finishJob(t *testing.T, l *loop, m *mappedTable) {
	t.Helper()
	m.Job.Done = true
	if err := l.SaveJob(&m.Table); err != nil {
		t.Fatal(err)
	}
}

// The changes of a table that were not applied during a quarantine have no entries in its lists and
// streams. The gap for them stays open after the job that ends the quarantine, although the rows
// are complete. Neither a TRUNCATE nor another job closes the gap; the next backfill does.
func TestGapOfQuarantine(t *testing.T) {
	for _, hasList := range []bool{false, true} {
		outputs := []transform.Output{rowOutput}
		if hasList {
			outputs = append(outputs, listOutput)
		}
		l, m := entriesPipeline(t, outputs...)
		m.Fault = &tablestate.Fault{Reason: "test", Position: "log:2"}
		if err := l.backfill(m.name()); err != nil {
			t.Fatal(err)
		}
		if err := l.AdoptSchema(t.Context(), &m.Table, m.definition); err != nil {
			t.Fatal(err)
		}
		if got := len(l.gaps.Open); got != 0 != hasList {
			t.Fatalf("with a list: %v: the gaps are %+v", hasList, l.gaps.Open)
		}
		if !hasList {
			continue
		}
		if g := l.gaps.Open[0]; g.Cause != tablestate.CauseQuarantine || g.From != "log:2" ||
			g.To != "log:5" || !g.Entries || g.Reason == "" || g.Time == 0 {
			t.Errorf("the gap is %+v", g)
		}
		finishJob(t, l, m)
		if !m.Job.Done || m.Job.Skipped || l.writeMode(m) == transform.FullRow {
			t.Errorf("after the job the table is not complete: %+v", m.Job)
		}
		if err := l.rowsRemoved(t.Context(), m, "TRUNCATE"); err != nil {
			t.Fatal(err)
		}
		l.startCascadeJob(m, "test")
		finishJob(t, l, m)
		if len(l.gaps.Open) != 1 || l.progress.Gaps == "" {
			t.Fatalf("the gaps are %+v, want one", l.gaps.Open)
		}
		if err := l.backfill(m.name()); err != nil {
			t.Fatal(err)
		}
		finishJob(t, l, m)
		if len(l.gaps.Open) != 0 || l.progress.Gaps != "" {
			t.Errorf("after a backfill the gaps are %+v", l.gaps.Open)
		}
	}
}

// A statement that ends a quarantine makes the gap, too. A second quarantine makes it longer.
func TestGapOfQuarantineByStatement(t *testing.T) {
	l, m := entriesPipeline(t, rowOutput, transform.Output{Kind: transform.Stream, Key: "s"})
	for _, from := range []string{"log:2", "log:7"} {
		m.Fault = &tablestate.Fault{Reason: "test", Position: from}
		if err := l.redefine(m, m.definition, m.Job); err != nil {
			t.Fatal(err)
		}
		finishJob(t, l, m)
		l.progress.Position.Offset = 9
	}
	if len(l.gaps.Open) != 1 || l.gaps.Open[0].ID != 2 || l.gaps.Open[0].From != "log:2" ||
		l.gaps.Open[0].To != "log:9" {
		t.Errorf("the gaps are %+v", l.gaps.Open)
	}
}

// The changes of a table that is altered while the pipeline starts for the first time have no
// entries until the table's definition is known.
func TestGapOfAlteredTable(t *testing.T) {
	l, m := entriesPipeline(t, rowOutput, listOutput)
	l.addAltered([]ddl.TableName{m.name()}, binlog.Position{File: "log", Offset: 2})
	if err := l.AdoptSchema(t.Context(), &m.Table, m.definition); err != nil {
		t.Fatal(err)
	}
	if len(l.gaps.Open) != 1 || l.gaps.Open[0].From != "log:2" || l.gaps.Open[0].To != "log:5" {
		t.Errorf("the gaps are %+v", l.gaps.Open)
	}
}

// An initial load that another job replaces has not made the entries of all rows.
func TestGapOfInitialLoad(t *testing.T) {
	snapshot := listOutput
	snapshot.Snapshot = true
	for _, c := range []struct {
		output transform.Output
		job    tablestate.Job
		want   int
	}{
		{snapshot, tablestate.Job{After: [][]byte{{'1'}}}, 1},
		{snapshot, tablestate.Job{Done: true}, 0},
		{snapshot, tablestate.Job{ID: 1, Compare: true}, 0},
		{listOutput, tablestate.Job{}, 0},
	} {
		l, m := entriesPipeline(t, rowOutput, c.output)
		m.Job = c.job
		if err := l.backfill(m.name()); err != nil {
			t.Fatal(err)
		}
		if len(l.gaps.Open) != c.want || c.want > 0 && (!l.gaps.Open[0].Entries ||
			l.gaps.Open[0].Cause != tablestate.CauseLoad) {
			t.Errorf("after job %+v the gaps are %+v", c.job, l.gaps.Open)
		}
		finishJob(t, l, m)
		if len(l.gaps.Open) != c.want {
			t.Errorf("the job that replaces %+v closes the gap", c.job)
		}
	}
}

// --from snapshot moves the position past changes that have no entries.
func TestGapOfRebuild(t *testing.T) {
	l, m := entriesPipeline(t, rowOutput, listOutput)
	old := newTableSet(&l.config.Mapping)
	if err := l.makeGapByRebuild("log:2", old); err != nil || len(l.gaps.Open) != 0 {
		t.Errorf("a table that is new has the gaps %+v, %v", l.gaps.Open, err)
	}
	if _, err := old.add(m.definition); err != nil {
		t.Fatal(err)
	}
	if err := l.makeGapByRebuild("log:2", old); err != nil {
		t.Fatal(err)
	}
	if len(l.gaps.Open) != 1 || l.gaps.Open[0].From != "log:2" || l.gaps.Open[0].To != "log:5" ||
		l.gaps.Open[0].Cause != tablestate.CauseFrom || !l.gaps.Open[0].Entries {
		t.Errorf("the gaps are %+v", l.gaps.Open)
	}
}

// A key of another type at which a list adds values puts its table into quarantine.
func TestListAtKeyOfAnotherType(t *testing.T) {
	for _, output := range []transform.Output{
		listOutput, {Kind: transform.Stream, Key: "l"},
	} {
		l, m := entriesPipeline(t, rowOutput, output)
		err := l.flushError(t.Context(), &sink.KeyTypeError{Key: "l", Held: "string"})
		if errors.As(err, new(*StopError)) || l.keyTypes[m.FullName()] == nil {
			t.Errorf("the error is %v, the faults %v", err, l.keyTypes)
		}
	}
}
