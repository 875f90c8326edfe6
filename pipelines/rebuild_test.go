package pipelines

import (
	"context"
	"errors"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// While the sink holds a part of a transaction, a table must not go into quarantine before that
// transaction is read again: the rows to skip are counted with the table.
func TestNothingBetweenTheUnitsOfATransaction(t *testing.T) {
	table := intTable()
	source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
		{Kind: binlog.Progress},
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 1}, [2]uint32{2, 2}, [2]uint32{3, 3}),
		{Kind: binlog.Commit, Time: 1000},
	}}
	p, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	l.progress.Partial, l.progress.Row, l.skip = 1, 2, 2
	partial := -1
	p.requests <- request{
		execute: func(_ context.Context, l *loop) error {
			partial = l.progress.Partial
			return nil
		},
		result: make(chan error, 1),
	}
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	if partial != 0 {
		t.Errorf("a request is executed with partial %d, want 0: after the transaction", partial)
	}
}

// A move forward keeps the jobs of tables whose columns are not known.
func TestMoveForwardWithUnknownColumns(t *testing.T) {
	to := sinktest.NewMemory("test")
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, to, source)
	n := ddl.TableName{Database: "shop", Table: "unknown"}
	if err := l.rebuildUnknown(n, "test"); err != nil {
		t.Fatal(err)
	}
	old := binlog.Position{File: "log", Offset: 1}
	l.progress.Position = binlog.Position{File: "log", Offset: 9}
	if err := l.applyRewind(t.Context(), &old, &old); err != nil {
		t.Fatal(err)
	}
	if job := l.tables.all["shop.t"].Job; !job.Skipped {
		t.Errorf("the job of a known table is %+v, want skipped", job)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored := newTableSet(&l.config.Mapping)
	if err := stored.load(state.Pieces); err != nil {
		t.Fatal(err)
	}
	if job := stored.all["shop.unknown"].Job; !job.NeedsSchema || job.Skipped {
		t.Errorf("the job of a table with unknown columns is %+v, want needs_schema", job)
	}
}

// A table with keys in the sink that cannot be mapped any more goes into quarantine, so that its
// keys are not forgotten. A table without keys becomes unmapped.
func TestAdoptSchemaWithoutKey(t *testing.T) {
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	for _, name := range []string{"t", "new"} {
		n := ddl.TableName{Database: "shop", Table: name}
		if err := l.rebuildUnknown(n, "test"); err != nil {
			t.Fatal(err)
		}
		schema := intTable()
		schema.Name, schema.Primary = name, nil
		d := ddl.FromTable(schema)
		if err := l.AdoptSchema(t.Context(), &l.tables.all[n.String()].Table, d); err != nil {
			t.Fatal(err)
		}
	}
	if m := l.tables.all["shop.t"]; m == nil || m.Fault == nil || len(m.former) != 1 {
		t.Errorf("the table with keys is %+v, want it in quarantine with a former definition", m)
	}
	if l.tables.all["shop.new"] != nil || l.tables.unmapped["shop.new"] == "" {
		t.Errorf("unmapped tables are %v, want the table without keys", l.tables.unmapped)
	}
}

// A table that a job has not found may only be hidden, because SELECT was revoked. Then its keys
// stay.
func TestAdoptNoTable(t *testing.T) {
	for _, denied := range []error{nil, errors.New("SELECT is not granted")} {
		to, _ := storedData(t)
		source := &scriptedSource{tables: []*binlog.Table{intTable()}, denied: denied}
		_, l := scriptedPipeline(t, to, source)
		n := ddl.TableName{Database: "shop", Table: "t"}
		if err := l.rebuildUnknown(n, "test"); err != nil {
			t.Fatal(err)
		}
		m := l.tables.all["shop.t"]
		if err := l.AdoptSchema(t.Context(), &m.Table, nil); !errors.Is(err, denied) {
			t.Errorf("grants are %v: the table is adopted with %v", denied, err)
		}
		if _, found := to.Keys.HashFields("t:1"); found != (denied != nil) {
			t.Errorf("grants are %v: the key is there: %v", denied, found)
		}
	}
}

// A table whose job is about to read the definition does not differ from the server's: another job
// would interrupt that one.
func TestDifferencesOfUnknownColumns(t *testing.T) {
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	changed := intTable()
	changed.Columns[1].SQLType = "bigint"
	current := map[string]*binlog.Table{"shop.t": changed}
	if found := l.tables.differences(current, nil); len(found) != 1 {
		t.Errorf("%d tables differ, want 1", len(found))
	}
	n := ddl.TableName{Database: "shop", Table: "t"}
	if err := l.rebuildUnknown(n, "test"); err != nil {
		t.Fatal(err)
	}
	if found := l.tables.differences(current, nil); len(found) != 0 {
		t.Errorf("%d tables differ while the columns are not known, want 0", len(found))
	}
}

// storedData returns a sink with the data of an intTable that has a row, as a run leaves them.
func storedData(t *testing.T) (*sinktest.Memory, sink.State) {
	t.Helper()
	table := intTable()
	to := sinktest.NewMemory("test")
	source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}), {Kind: binlog.Commit, Time: 1000},
	}}
	_, l := scriptedPipeline(t, to, source)
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return to, state
}

// --from snapshot keeps the former definition of a table whose primary key has changed meanwhile:
// the present plan cannot find the old keys.
func TestRebuildAllKeepsFormer(t *testing.T) {
	to, state := storedData(t)
	changed := intTable()
	changed.Primary = []int{1}
	source := &scriptedSource{tables: []*binlog.Table{changed}}
	_, l := scriptedPipeline(t, to, source)
	l.tables = newTableSet(&l.config.Mapping)
	if err := l.rebuildAll(t.Context(), state, l.progress); err != nil {
		t.Fatal(err)
	}
	former := l.tables.all["shop.t"].former
	if len(former) != 1 || former[0].Table().Primary[0] != 0 {
		t.Errorf("former definitions are %+v, want the one with the key id", former)
	}
}

// The first unit of --from snapshot has a position whose rows are not read yet. It lists the tables
// as rebuilding, so that WAIT does not find them complete.
func TestRebuildAllListsTables(t *testing.T) {
	to, state := storedData(t)
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, to, source)
	l.tables = newTableSet(&l.config.Mapping)
	if err := l.rebuildAll(t.Context(), state, l.progress); err != nil {
		t.Fatal(err)
	}
	if err := l.initialUnit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, err := to.Progress("test"); err != nil || at.Rebuilding != `["shop.t"]` {
		t.Errorf("the first unit lists %q, %v", at.Rebuilding, err)
	}
}

// A TRUNCATE whose keys are kept ends a job that waits for a confirmation, and later rows are
// written in mode Replace.
func TestIgnoredTruncateEndsWaitingJob(t *testing.T) {
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	l.config.Mapping.Tables[0].OnTruncate = transform.KeepKeys
	m := l.tables.all["shop.t"]
	m.Job = tablestate.Job{
		ID: 1, Compare: true, Sweep: &tablestate.Sweep{Reached: true, Waiting: true},
	}
	if err := l.rowsRemoved(t.Context(), m, "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	if m.Job.Done || !m.Job.Skipped || l.writeMode(m) != transform.Replace {
		t.Errorf("the job is %+v, mode %v", m.Job, l.writeMode(m))
	}
}

// --from snapshot removes the keys of tables that are gone only if on_drop says so.
func TestRebuildAllHonoursOnDrop(t *testing.T) {
	for on, want := range map[transform.OnRemoval]bool{
		transform.RemoveKeys: false, transform.KeepKeys: true,
	} {
		to, state := storedData(t)
		_, l := scriptedPipeline(t, to, new(scriptedSource))
		l.config.Mapping.Tables[0].OnDrop = on
		old := newTableSet(&l.config.Mapping)
		if err := old.load(state.Pieces); err != nil {
			t.Fatal(err)
		}
		if err := l.removeGone(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if _, found := to.Keys.HashFields("t:1"); found != want {
			t.Errorf("on_drop %v: the key is there: %v, want %v", on, found, want)
		}
	}
}

// A replica reports a --from that the user gave, and not a rebuild that the pipeline has decided on
// before it was demoted.
func TestFromOnReplica(t *testing.T) {
	for _, isOwn := range []bool{false, true} {
		p, _ := scriptedPipeline(t, sinktest.NewMemory("test"), new(scriptedSource))
		p.from, p.isFromOwn = fromSnapshot, isOwn
		if err := p.rejectFromOnReplica(); (err == nil) != isOwn || p.from != "" {
			t.Errorf("own %v: rejected with %v; from is %q", isOwn, err, p.from)
		}
	}
}

// Jobs with one number, as those of the initial load, are listed in the order of their tables. No
// number means one of them, so none can be cancelled.
func TestJobsOfTheInitialLoad(t *testing.T) {
	s := newTableSet(new(transform.Mapping))
	for i := range 50 {
		n := ddl.TableName{Database: "shop", Table: string(rune('A' + i))}
		s.put(n).Job.ID = i * 7 % 3
	}
	list := s.jobList()
	for i := range list[1:] {
		a, b := list[i], list[i+1]
		if a.ID > b.ID || a.ID == b.ID && a.Table > b.Table {
			t.Fatalf("%d %s is listed before %d %s", a.ID, a.Table, b.ID, b.Table)
		}
	}
	if err := (&loop{tables: s}).cancelJob(0); err == nil {
		t.Error("the job of any table is cancelled as job 0")
	}
}
