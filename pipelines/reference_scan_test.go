package pipelines

import (
	"fmt"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// referring returns a loop with the tables shop.t, shop.c and shop.u. A row of c refers by v to a
// row of t, and a row of u to a row of c. The rows c:1 to c:3 and u:7 to u:9 exist, and t:1, to
// which c:1 and c:3 refer, was deleted. The loop has not begun to look for these rows.
func referring(t *testing.T, onDelete string) (l *loop, source *scriptedSource) {
	t.Helper()
	cascadePause = time.Hour
	t.Cleanup(func() { cascadePause = time.Second })
	source, _ = childSource()
	source.cascades[0].Key.OnDelete = onDelete
	k := &source.cascades[1].Key
	k.ParentTable, k.OnDelete, k.OnUpdate = "c", "CASCADE", "NO ACTION"
	to := sinktest.NewMemory("test")
	l = reconcilingLoop(t, to, source)
	t.Cleanup(func() { l.jobs.Close() })
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	source.script = []*binlog.Event{
		rowsEvent(t, source.tables[0], binlog.Insert, [2]uint32{1, 0}, [2]uint32{2, 0}), commit,
		rowsEvent(t, source.tables[1], binlog.Insert,
			[2]uint32{1, 1}, [2]uint32{2, 2}, [2]uint32{3, 1}), commit,
		rowsEvent(t, source.tables[2], binlog.Insert,
			[2]uint32{7, 2}, [2]uint32{8, 3}, [2]uint32{9, 4}), commit,
		rowsEvent(t, source.tables[0], binlog.Delete, [2]uint32{1, 0}), commit,
	}
	for _, ev := range source.script {
		source.position.Offset++
		if err := l.handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	cascadePause = 0
	for _, m := range l.tables.all {
		m.cascadeBegan = time.Time{}
	}
	return l, source
}

// mustHold checks rows of the sink, given as KEY=V; V is - for a key that is not there.
func mustHold(t *testing.T, to Sink, want ...string) {
	t.Helper()
	for _, w := range want {
		var key, v string
		if _, err := fmt.Sscanf(w, "%1s", &key); err != nil {
			t.Fatal(err)
		}
		key, v = w[:3], w[4:]
		fields, found := to.(*sinktest.Memory).Keys.HashFields(key)
		got := fields["v"]
		if !found {
			got = "-"
		}
		if got != v {
			t.Errorf("%s has v=%s, want %s", key, got, v)
		}
	}
}

// The rows that referred to a deleted row, and the rows that referred to these, are found in the
// sink. No other row is read: the source would return other values for them.
func TestReferenceScan(t *testing.T) {
	l, source := referring(t, "CASCADE")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	if c.Job.Again == "" || u.Job.Again == "" || l.progress.Rebuilding != `["shop.c","shop.u"]` {
		t.Fatalf("the jobs are %+v and %+v, rebuilding is %s", c.Job, u.Job, l.progress.Rebuilding)
	}
	if l.writeMode(c) != transform.Replace {
		t.Errorf("rows are written in mode %v", l.writeMode(c))
	}
	source.images = [][2]uint32{{2, 99}, {7, 99}, {9, 99}}
	source.Wake()
	to := l.sink.(*sinktest.Memory)
	runUntil(t, l, to, func() bool { return c.Job.Again == "" && u.Job.Again == "" })
	mustHold(t, l.sink, "c:1=-", "c:2=2", "c:3=-", "u:7=2", "u:8=-", "u:9=4", "t:2=0")
	if !c.Job.Done || c.Job.ID > 0 || u.Job.ID > 0 || l.progress.Rebuilding != "" {
		t.Errorf("the jobs are %+v and %+v, rebuilding is %s", c.Job, u.Job, l.progress.Rebuilding)
	}
}

// SET NULL changes the referring rows, and no further ones.
func TestReferenceScanSetNull(t *testing.T) {
	l, source := referring(t, "SET NULL")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	if u.Job.Again != "" {
		t.Errorf("the job of u is %+v", u.Job)
	}
	source.images = [][2]uint32{{1, 0}, {2, 99}, {3, 0}}
	source.Wake()
	runUntil(t, l, l.sink.(*sinktest.Memory), func() bool { return c.Job.Again == "" })
	mustHold(t, l.sink, "c:1=0", "c:2=2", "c:3=0", "u:7=2", "u:8=3")
}

// A run that ends before the scan leaves what the next run needs.
func TestReferenceScanAfterRestart(t *testing.T) {
	l, source := referring(t, "CASCADE")
	to := l.sink.(*sinktest.Memory)
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.jobs.Close()
	source.script, source.position.Offset = nil, 0
	l = resumedLoop(t, to, source)
	defer l.jobs.Close()
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	if len(c.Job.References) != 1 || len(u.Job.References) != 1 {
		t.Fatalf("the stored jobs are %+v and %+v", c.Job, u.Job)
	}
	source.images = [][2]uint32{{2, 99}, {7, 99}, {9, 99}}
	source.Wake()
	runUntil(t, l, to, func() bool { return c.Job.Again == "" && u.Job.Again == "" })
	mustHold(t, l.sink, "c:1=-", "c:2=2", "c:3=-", "u:7=2", "u:8=-", "u:9=4")
}

// If the scan of a table cannot take place, the tables that wait for it are read as a whole.
func TestLostReferenceScan(t *testing.T) {
	l, source := referring(t, "CASCADE")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	c.Restart(l.reconcileJob("test"))
	source.images = [][2]uint32{{2, 2}, {7, 2}}
	source.Wake()
	runUntil(t, l, l.sink.(*sinktest.Memory), func() bool {
		return c.Job.Done && u.Job.Done && u.Job.ID > 0
	})
	mustHold(t, l.sink, "c:1=-", "u:7=2", "u:8=-", "u:9=-")
}

// Where the sink does not show which rows referred to a deleted row, the whole table is read.
func TestWhatCanBeFound(t *testing.T) {
	for what, spoil := range map[string]func(l *loop, c *mappedTable){
		"a job runs": func(_ *loop, c *mappedTable) { c.Job.Done = false },
		"all tables are read": func(l *loop, _ *mappedTable) {
			l.progress.Phase = sink.Snapshot
		},
		"too many": func(_ *loop, c *mappedTable) {
			c.Job.References[0].Values = make([][]string, maxReferences)
		},
		"a job for the whole table is requested": func(_ *loop, c *mappedTable) {
			c.Job.References = nil
		},
	} {
		l, _ := referring(t, "CASCADE")
		c := l.tables.all["shop.c"]
		spoil(l, c)
		ok, err := l.addReferences(c, "test", tablestate.References{Values: [][]string{{"2"}}})
		if ok || err != nil || len(c.Job.References) > 0 {
			t.Errorf("%s: a scan is requested, %v: %+v", what, err, c.Job)
		}
	}
	l, _ := referring(t, "SET NULL")
	c := l.tables.all["shop.c"]
	key := &l.tables.cascades.keys[0]
	if !l.canFindReferring(c, key) {
		t.Errorf("rows of %s cannot be found", c.FullName())
	}
	for name, change := range map[string]func(r *transform.TableRule, table *binlog.Table){
		"where": func(r *transform.TableRule, _ *binlog.Table) { r.Where = "v != nil" },
		"another location": func(r *transform.TableRule, _ *binlog.Table) {
			r.Write = setOutputs
		},
		"no field": func(r *transform.TableRule, _ *binlog.Table) {
			r.Columns.Exclude = []string{"v"}
		},
		"text": func(_ *transform.TableRule, table *binlog.Table) {
			table.Columns[1].SQLType, table.Columns[1].Type = "varchar(9)", binlog.TypeVarchar
			table.Columns[1].Charset = "utf8mb4"
		},
	} {
		rule, table := transform.TableRule{Pattern: "shop.*"}, intTable()
		table.Name = "c"
		change(&rule, table)
		mapping := &transform.Mapping{Tables: []transform.TableRule{rule}}
		plan, err := transform.Compile(mapping, table)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Schema, c.Plan = table, plan
		if l.canFindReferring(c, key) {
			t.Errorf("%s: rows can be found", name)
		}
	}
}

// setOutputs are a hash of each row, and a set whose key the row's key does not determine.
var setOutputs = []transform.Output{
	{Kind: transform.Hash, Key: "c:{id}"}, {Kind: transform.Set, Key: "by:{v}", Member: "{id}"},
}

// Tables that wait for the keys job after a scan cost a transaction nothing that grows with the
// number of tables.
func TestWaitingForKeysIsCheap(t *testing.T) {
	l, _ := referring(t, "CASCADE")
	for i := range 500 {
		table := intTable()
		table.Name = fmt.Sprintf("more%d", i)
		if _, err := l.tables.add(ddl.FromTable(table)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"shop.c", "shop.u"} {
		m := l.tables.all[name]
		m.Job.References, m.Job.KeysOnly, m.Keys = nil, true, new(tablestate.Keys)
	}
	step := func() {
		if err := l.stepReferences(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n > 0 {
		t.Errorf("a step makes %v allocations", n)
	}
	c := l.tables.all["shop.c"]
	c.Keys = nil
	if err := l.SaveKeys(&c.Table); err != nil {
		t.Fatal(err)
	}
	if step(); c.Job.Again != "" {
		t.Errorf("after its keys job the job of c is %+v", c.Job)
	}
}
