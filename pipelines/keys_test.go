package pipelines

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// addKeys is a request that adds keys of shop.t.
func addKeys(ids ...string) request {
	return request{
		execute: func(_ context.Context, l *loop) error {
			var keys []jobs.Key
			for _, id := range ids {
				keys = append(keys, jobs.Key{[]byte(id)})
			}
			return l.jobs.AddKeys(&l.tables.all["shop.t"].Table, "test", keys)
		},
		result: make(chan error, 1),
	}
}

// runUntil runs a loop until a unit has been applied after which done returns true.
func runUntil(t *testing.T, l *loop, to *sinktest.Memory, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reached := false
	to.After = func(*sink.Unit) error {
		if done() {
			reached = true
			cancel()
		}
		return nil
	}
	defer func() { to.After = nil }()
	err := l.run(ctx)
	l.jobs.Close()
	if !reached {
		t.Fatalf("the run ended with %v", err)
	}
}

// twoRows returns a script after which the sink holds two rows.
func twoRows(t *testing.T, table *binlog.Table) []*binlog.Event {
	return []*binlog.Event{
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}),
		{Kind: binlog.Commit, Time: 1000},
	}
}

// A keys job writes what differs and removes the row that is gone. The table stays complete, and
// rows that the job has not read are written in mode Replace.
func TestKeysJob(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	source := &scriptedSource{
		tables: []*binlog.Table{table}, script: twoRows(t, table),
		images: [][2]uint32{{1, 11}}, woken: make(chan struct{}, 1),
	}
	p, l := scriptedPipeline(t, to, source)
	p.requests <- addKeys("1", "2", "3")
	m := l.tables.all["shop.t"]
	wasComplete, wasListed := true, false
	runUntil(t, l, to, func() bool {
		wasComplete = wasComplete && m.Job.Done
		for _, j := range p.Stats().Jobs {
			wasListed = wasListed || j.Table == "shop.t" && j.Reason == "test" && j.Estimate == 3
		}
		_, found := to.Keys.HashFields("t:2")
		return m.Keys == nil && !found
	})
	row, _ := to.Keys.HashFields("t:1")
	if row["v"] != "11" || !wasComplete || !wasListed {
		t.Errorf("row 1 is %v; the table was complete: %v; the job was listed: %v", row,
			wasComplete, wasListed)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, found := state.Pieces[tablestate.KeysPrefix+"shop.t"]; found {
		t.Errorf("the job is still stored: %s", text)
	}
}

// A run that ends before the keys are read leaves them to the next one, which also knows the number
// of the job.
func TestKeysJobIsResumed(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	source := &scriptedSource{tables: []*binlog.Table{table}, script: twoRows(t, table)}
	p, l := scriptedPipeline(t, to, source)
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	l.lastJob, l.progress.Server = 6, "scripted"
	p.requests <- addKeys("1", "2")
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	l.jobs.Close()
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source = &scriptedSource{images: [][2]uint32{{2, 20}}, woken: make(chan struct{}, 1)}
	_, l = scriptedPipeline(t, to, source)
	source.tables = []*binlog.Table{table}
	if err := l.resume(state, l.progress); err != nil {
		t.Fatal(err)
	}
	m := l.tables.all["shop.t"]
	if m.Keys == nil || m.Keys.Count != 2 || l.lastJob != 7 {
		t.Fatalf("the job is %+v, the last job %d", m.Keys, l.lastJob)
	}
	l.jobsChanged = true
	source.woken <- struct{}{}
	runUntil(t, l, to, func() bool { return m.Keys == nil })
	if _, found := to.Keys.HashFields("t:1"); found {
		t.Error("the row that is gone is still there")
	}
}

// A keys job that is cancelled leaves a table of which no row is known to be complete. An ALTER of
// the columns makes it a job that reads every row. A table that is dropped leaves no keys.
func TestEndOfKeysJob(t *testing.T) {
	for _, c := range []string{"cancel", "alter", "drop", "rebuild all"} {
		table := intTable()
		to := sinktest.NewMemory("test")
		source := &scriptedSource{tables: []*binlog.Table{table}}
		_, l := scriptedPipeline(t, to, source)
		if err := addKeys("1", "2").execute(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		m := l.tables.all["shop.t"]
		job := m.Keys.ID
		if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
			t.Fatal(err)
		}
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var err error
		switch c {
		case "cancel":
			if err = l.cancelJob(job); !m.Job.Skipped || !m.Job.Cancelled || !m.Job.Compare {
				t.Errorf("the table's job is %+v", m.Job)
			}
		case "alter":
			changed := *m.definition
			changed.Columns = changed.Columns[:1]
			if err = l.redefine(m, &changed, m.Job); m.Job.Done || m.Job.ID == job {
				t.Errorf("the table's job is %+v", m.Job)
			}
		case "drop":
			err = l.tableGone(t.Context(), m.name(), m, "DROP", nil)
		case "rebuild all":
			state, loadErr := to.Load(t.Context())
			if loadErr != nil {
				t.Fatal(loadErr)
			}
			l.tables = newTableSet(&l.config.Mapping)
			if err = l.rebuildAll(t.Context(), state, l.progress); err == nil {
				err = l.initialUnit(t.Context())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name := range state.Pieces {
			if strings.HasPrefix(name, tablestate.KeysPrefix) {
				t.Errorf("%s: piece %q is left", c, name)
			}
		}
		block := sink.BlockKey("test", tablestate.KeyBlock("shop.t", 0))
		if reply, err := to.Read(t.Context(), []byte("GET"), []byte(block)); err != nil ||
			!reply.Null {
			t.Errorf("%s: the keys are left: %q, %v", c, reply.Text, err)
		}
		l.jobs.Close()
	}
}

// A DELETE of a row that a keys job has not read yet removes the row whatever the sink holds of it,
// and the change of another row stays a delta.
func TestWriteModeDuringKeysJob(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
		rowsEvent(t, table, binlog.Update, [2]uint32{1, 10}, [2]uint32{1, 11}),
		rowsEvent(t, table, binlog.Update, [2]uint32{2, 20}, [2]uint32{2, 21}),
		{Kind: binlog.Commit, Time: 1000},
	}}
	_, l := scriptedPipeline(t, to, source)
	if err := addKeys("1").execute(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	l.jobs.Close()
	one, _ := to.Keys.HashFields("t:1")
	two, _ := to.Keys.HashFields("t:2")
	if len(one) != 2 || len(two) != 1 {
		t.Errorf("row 1 is %v, row 2 %v; want all fields of row 1, and only v of row 2", one, two)
	}
}
