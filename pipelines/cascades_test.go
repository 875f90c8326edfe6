package pipelines

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// The tables below a parent are those that the actions of the foreign keys reach: DELETE follows
// CASCADE as a DELETE, and SET NULL as an UPDATE of the referencing columns.
func TestCascadeParents(t *testing.T) {
	key := func(
		child, column, parent, referenced, onDelete, onUpdate string,
	) tablestate.ForeignKey {
		return tablestate.ForeignKey{
			Database: "shop", Table: child, Name: child + parent, Columns: []string{column},
			ParentDatabase: "shop", ParentTable: parent, Referenced: []string{referenced},
			OnDelete: onDelete, OnUpdate: onUpdate,
		}
	}
	c := cascades{keys: []tablestate.ForeignKey{
		key("m", "p", "p", "id", "CASCADE", "RESTRICT"), // not mapped
		key("c", "m", "m", "id", "CASCADE", "NO ACTION"),
		key("n", "m", "m", "id", "SET NULL", "CASCADE"),
		key("o", "x", "n", "M", "RESTRICT", "CASCADE"),  // refers to what SET NULL changes
		key("q", "x", "n", "id", "CASCADE", "CASCADE"),  // does not
		key("e", "up", "e", "id", "CASCADE", "CASCADE"), // refers to itself
	}}
	c.compile(func(full string) bool { return full != "shop.m" })
	describe := func(p *cascadeParent) string {
		text := fmt.Sprint(p.onDelete)
		for _, u := range p.onUpdate {
			text += fmt.Sprintf(" %v%v", u.columns, u.tables)
		}
		return text
	}
	want := map[string]string{
		"shop.p": "[shop.c shop.n shop.o]",
		"shop.m": "[shop.c shop.n shop.o] [id][shop.n shop.o]",
		"shop.n": "[shop.q] [M][shop.o] [id][shop.q]",
		"shop.e": "[shop.e] [id][shop.e]",
	}
	got := make(map[string]string)
	for name, p := range c.parents {
		got[name.String()] = describe(p)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the parents are %q, want %q", got, want)
	}
	below := c.below(ddl.TableName{Database: "shop", Table: "n"}, func(string) bool { return true })
	if want := []string{"shop.n", "shop.o", "shop.q"}; !slices.Equal(below, want) {
		t.Errorf("below n are %q, want %q", below, want)
	}
	if p := c.watch(ddl.TableName{Database: "shop", Table: "p"}, true); p != nil {
		t.Error("a change with foreign_key_checks=0 is watched")
	}
}

// selfReferring returns a source whose table shop.t refers to itself.
func selfReferring(table *binlog.Table) *scriptedSource {
	self := ddl.TableName{Database: "shop", Table: "t"}
	return &scriptedSource{
		tables: []*binlog.Table{table}, woken: make(chan struct{}, 1),
		cascades: []source.UnloggedCascade{{Table: self, Key: query.ForeignKey{
			Name: "tt", Columns: []string{"v"}, ParentDatabase: "shop", ParentTable: "t",
			Referenced: []string{"id"}, OnDelete: "CASCADE", OnUpdate: "CASCADE",
		}}},
	}
}

// Changes of parents that come while a job reads the children need one more job together, also if a
// run ends meanwhile. Other changes need none.
func TestCascadesAreFolded(t *testing.T) {
	cascadePause = 0
	defer func() { cascadePause = time.Second }()
	table := intTable()
	to := sinktest.NewMemory("test")
	source := selfReferring(table)
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	unchecked := rowsEvent(t, table, binlog.Delete, [2]uint32{7, 0})
	unchecked.ForeignKeysOff = true
	none := []*binlog.Event{
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}, [2]uint32{3, 30}),
		commit, unchecked, commit,
		rowsEvent(t, table, binlog.Update, [2]uint32{1, 10}, [2]uint32{1, 11}), commit,
	}
	source.script = append(none,
		rowsEvent(t, table, binlog.Update, [2]uint32{1, 11}, [2]uint32{101, 11}), commit,
		rowsEvent(t, table, binlog.Update, [2]uint32{5, 0}, [2]uint32{105, 0}), commit,
		rowsEvent(t, table, binlog.Update, [2]uint32{6, 0}, [2]uint32{7, 0}), commit,
	)
	l := reconcilingLoop(t, to, source)
	m := l.tables.all["shop.t"]
	jobs, again := make(map[int]bool), 0
	for i, ev := range source.script {
		source.position.Offset++
		if err := l.handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		if i == len(none)-1 && (l.lastJob > 0 || !m.Job.Done) {
			t.Fatalf("job %+v runs, although no foreign key has acted", m.Job)
		}
		jobs[l.lastJob] = true
		if m.Job.Again != "" {
			again++
		}
	}
	if len(jobs) != 2 || again == 0 {
		t.Errorf("there are %d jobs; Again was set %d times", l.lastJob, again)
	}
	if mode := l.writeMode(m); mode != transform.Replace {
		t.Errorf("rows are written in mode %v", mode)
	}
	l.jobs.Close()

	// The next run ends the job and begins the other one.
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	source.script, source.images = nil, [][2]uint32{{3, 31}}
	source.position.Offset = 0
	l = resumedLoop(t, to, source)
	if m = l.tables.all["shop.t"]; m.Job.Again == "" {
		t.Fatalf("the stored job is %+v", m.Job)
	}
	source.Wake()
	runUntil(t, l, to, func() bool { return m.Job.Done && m.Job.Again == "" })
	if l.lastJob != 2 || m.Job.ID != 2 {
		t.Errorf("the last job is %d of %d, want 2", m.Job.ID, l.lastJob)
	}
	row, _ := to.Keys.HashFields("t:3")
	_, found := to.Keys.HashFields("t:2")
	if row["v"] != "31" || found {
		t.Errorf("row 3 is %v; row 2 is there: %v", row, found)
	}
}

// reconcilingLoop returns a loop that has read the foreign keys of the source's tables.
func reconcilingLoop(t *testing.T, to *sinktest.Memory, source *scriptedSource) *loop {
	t.Helper()
	p, l := scriptedPipeline(t, to, source)
	p.config.Mapping.Tables[0].OnCascade = transform.ReconcileCascades
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	l.progress.Server = "scripted"
	if err := l.checkForeignKeys(t.Context(), foreignKeyCheck{atStart: true}); err != nil {
		t.Fatal(err)
	}
	return l
}

// resumedLoop returns a loop that continues at the data's position.
func resumedLoop(t *testing.T, to *sinktest.Memory, source *scriptedSource) *loop {
	t.Helper()
	tables := source.tables
	source.tables = nil // they come from the data
	p, l := scriptedPipeline(t, to, source)
	source.tables = tables
	p.config.Mapping.Tables[0].OnCascade = transform.ReconcileCascades
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.resume(state, l.progress); err != nil {
		t.Fatal(err)
	}
	if err := l.checkForeignKeys(t.Context(), foreignKeyCheck{atStart: true}); err != nil {
		t.Fatal(err)
	}
	return l
}

// A table that is loaded already begins again only after the load of all tables, which would not
// end otherwise.
func TestCascadeDuringLoad(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	l := reconcilingLoop(t, to, selfReferring(table))
	defer l.jobs.Close()
	m := l.tables.all["shop.t"]
	l.progress.Phase = sink.Snapshot
	for range 2 {
		l.tables.cascades.due = map[string]string{"shop.t": "test"}
		if err := l.reconcileCascades(); err != nil {
			t.Fatal(err)
		}
	}
	l.repeatDue = true
	if err := l.repeatJobs(); err != nil || l.lastJob > 0 || m.Job.Again != "test" {
		t.Fatalf("the job is %+v, %v", m.Job, err)
	}
	if err := l.finishInitialLoad(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.progress.Phase != sink.Streaming || l.progress.Rebuilding != `["shop.t"]` {
		t.Errorf("the phase is %v, rebuilding is %s", l.progress.Phase, l.progress.Rebuilding)
	}
	if err := l.repeatJobs(); err != nil || l.lastJob != 1 || m.Job.Done || m.Job.Again != "" {
		t.Errorf("the job is %+v, %v", m.Job, err)
	}
	if !m.Job.Sweep.Confirmed {
		t.Error("the job waits for a confirmation if it removes more than half of the keys")
	}
}

// An UPDATE of a parent that is not mapped counts if it changes the columns that are referred to.
// While the parent's schema is not known at the stream's position, every UPDATE counts.
func TestUpdateOfUnmappedParent(t *testing.T) {
	parent := intTable()
	parent.Database = "other"
	n := ddl.TableName{Database: "other", Table: "t"}
	source := selfReferring(intTable())
	source.parents = map[ddl.TableName]*binlog.Table{n: parent}
	source.cascades[0].Key.ParentDatabase = "other"
	l := reconcilingLoop(t, sinktest.NewMemory("test"), source)
	defer l.jobs.Close()
	m := l.tables.all["shop.t"]
	update := func(before, after [2]uint32) bool {
		t.Helper()
		if err := l.changes(t.Context(),
			rowsEvent(t, parent, binlog.Update, before, after)); err != nil {
			t.Fatal(err)
		}
		defer clear(l.tables.cascades.due)
		return l.tables.cascades.isDue(m)
	}
	l.tables.cascades.schemas[n].from.Offset = 5
	source.position.Offset = 4
	if l.tables.cascades.validate(source.Position()) {
		t.Error("the schema is valid before the position at which the server had it")
	}
	if table, err := l.tables.Table("other", "t"); table != nil || err != nil {
		t.Errorf("rows are read with %v, %v", table, err)
	}
	if !update([2]uint32{1, 1}, [2]uint32{1, 2}) {
		t.Error("an UPDATE does not count although the schema is not known")
	}
	source.position.Offset = 5
	if !l.tables.cascades.validate(source.Position()) {
		t.Error("the schema is not valid")
	}
	if table, err := l.tables.Table("other", "t"); table != parent || err != nil {
		t.Errorf("rows are read with %v, %v", table, err)
	}
	if update([2]uint32{1, 1}, [2]uint32{1, 2}) {
		t.Error("an UPDATE of another column counts")
	}
	if !update([2]uint32{1, 1}, [2]uint32{2, 1}) {
		t.Error("an UPDATE of the column that is referred to does not count")
	}
	if err := l.readParentSchemas(t.Context(), []ddl.TableName{n}); err != nil {
		t.Fatal(err)
	}
	if l.tables.cascades.schemaOf(n) != nil {
		t.Error("the schema is valid after an ALTER, before the position at which it was read")
	}
}

// Changes of parents in many transactions need one job, which begins after a pause. While such
// changes do not end, the pause is as long as the last job took.
func TestCascadePause(t *testing.T) { synctest.Test(t, testCascadePause) }

func testCascadePause(t *testing.T) {
	table := intTable()
	source := selfReferring(table)
	l := reconcilingLoop(t, sinktest.NewMemory("test"), source)
	defer l.jobs.Close()
	m := l.tables.all["shop.t"]
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	for id := range uint32(10) {
		source.script = append(source.script,
			rowsEvent(t, table, binlog.Update, [2]uint32{id, 1}, [2]uint32{100 + id, 1}), commit)
	}
	begin := time.Now()
	for _, ev := range source.script {
		source.position.Offset++
		if err := l.handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if l.lastJob != 1 || m.Job.Done || m.Job.Again != "" {
		t.Errorf("there are %d jobs, the last is %+v", l.lastJob, m.Job)
	}
	for took, want := range map[time.Duration]time.Duration{
		20 * time.Second: 20 * time.Second, time.Hour: longestCascadePause,
	} {
		m.cascadeBegan = begin
		m.endCascadeJob(begin.Add(took))
		if got := m.restUntil.Sub(begin.Add(took)); got != want {
			t.Errorf("after a job of %v the pause is %v, want %v", took, got, want)
		}
	}
	l.startCascadeJob(m, "test")
	if !m.cascadeBegan.Equal(m.restUntil) {
		t.Errorf("the next job begins at %v, want %v", m.cascadeBegan, m.restUntil)
	}
}
