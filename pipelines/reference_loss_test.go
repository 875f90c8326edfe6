package pipelines

import (
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// This file tests what could make a reference scan miss rows, or wait for ever.

// play handles further events of a script.
func play(t *testing.T, l *loop, source *scriptedSource, events ...*binlog.Event) {
	t.Helper()
	for _, ev := range events {
		source.script = append(source.script, ev)
		source.position.Offset++
		if err := l.handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		if err := l.flushCommitted(t.Context()); err != nil { // as next does
			t.Fatal(err)
		}
	}
}

// removesKeys makes a keys job remove c:1 and c:3 from the sink before the scan of c has ended.
func removesKeys(t *testing.T) (l *loop, source *scriptedSource) {
	t.Helper()
	l, source = referring(t, "CASCADE")
	to := l.sink.(*sinktest.Memory)
	c := l.tables.all["shop.c"]
	found := []jobs.Key{{[]byte("1")}, {[]byte("3")}}
	if err := l.jobs.AddKeys(&c.Table, c.Job.Again, found); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.cascadeBegan = time.Now().Add(time.Hour)
	source.images = [][2]uint32{{2, 2}, {7, 2}, {9, 4}}
	source.Wake()
	runUntil(t, l, to, func() bool {
		_, found := to.Keys.HashFields("c:3")
		return !found
	})
	return l, source
}

// A keys job has removed rows before a scan has found them: a run ended within the scan, or the
// rows were already to be read for another reason. The rows that referred to them are found.
func TestRowsGoneBeforeScan(t *testing.T) {
	l, source := removesKeys(t)
	to := l.sink.(*sinktest.Memory)
	source.script, source.position.Offset = nil, 0
	l = resumedLoop(t, to, source)
	defer l.jobs.Close()
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	source.Wake()
	runUntil(t, l, to, func() bool { return c.Job.Again == "" && u.Job.Again == "" })
	mustHold(t, l.sink, "c:1=-", "c:2=2", "c:3=-", "u:7=2", "u:8=-", "u:9=4")
}

// A row with the key of a deleted one is inserted before the scan, and refers to another parent.
// The rows that referred to the deleted row are found.
func TestRowInsertedBeforeScan(t *testing.T) {
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	for _, isSameTransaction := range []bool{false, true} {
		l, source := referring(t, "CASCADE")
		c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
		insert := rowsEvent(t, source.tables[1], binlog.Insert, [2]uint32{3, 2})
		if isSameTransaction {
			c.Job.References, c.Job.Again, u.Job.References, u.Job.Again = nil, "", nil, ""
			remove := rowsEvent(t, source.tables[0], binlog.Delete, [2]uint32{1, 0})
			play(t, l, source, remove, insert, commit)
			c.cascadeBegan, u.cascadeBegan = time.Time{}, time.Time{}
		} else {
			play(t, l, source, insert, commit)
		}
		source.images = [][2]uint32{{2, 2}, {3, 2}, {7, 2}, {9, 4}}
		source.Wake()
		runUntil(t, l, l.sink.(*sinktest.Memory), func() bool {
			return c.Job.Again == "" && u.Job.Again == ""
		})
		mustHold(t, l.sink, "c:1=-", "c:2=2", "c:3=2", "u:7=2", "u:8=-", "u:9=4")
	}
}

// A row gets the key of a deleted one by an UPDATE before the scan. The rows that referred to the
// deleted row are found.
func TestRowMovedBeforeScan(t *testing.T) {
	l, source := referring(t, "CASCADE")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	play(t, l, source,
		rowsEvent(t, source.tables[1], binlog.Update, [2]uint32{2, 2}, [2]uint32{3, 2}),
		&binlog.Event{Kind: binlog.Commit, Time: 1000})
	source.images = [][2]uint32{{3, 2}, {7, 2}, {9, 4}}
	source.Wake()
	runUntil(t, l, l.sink.(*sinktest.Memory), func() bool {
		return c.Job.Again == "" && u.Job.Again == ""
	})
	mustHold(t, l.sink, "c:1=-", "c:2=-", "c:3=2", "u:7=2", "u:8=-", "u:9=4")
}

// Two tables refer to each other, and rows of both were deleted: neither waits for the other.
func TestReferenceScansOfCycle(t *testing.T) {
	cascadePause = time.Hour
	t.Cleanup(func() { cascadePause = time.Second })
	src, _ := childSource()
	k := src.cascades[0]
	k.Table, k.Key.ParentTable = ddl.TableName{Database: "shop", Table: "c"}, "t"
	k.Key.OnDelete = "CASCADE"
	o := k
	o.Table, o.Key.ParentTable = ddl.TableName{Database: "shop", Table: "t"}, "c"
	src.cascades = []source.UnloggedCascade{k, o}
	to := sinktest.NewMemory("test")
	l := reconcilingLoop(t, to, src)
	defer l.jobs.Close()
	first, second := src.tables[0], src.tables[1]
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	play(t, l, src,
		rowsEvent(t, first, binlog.Insert, [2]uint32{1, 0}, [2]uint32{2, 5}, [2]uint32{3, 9}),
		commit,
		rowsEvent(t, second, binlog.Insert, [2]uint32{5, 0}, [2]uint32{6, 1}, [2]uint32{9, 9}),
		commit,
		rowsEvent(t, first, binlog.Delete, [2]uint32{1, 0}), commit,
		rowsEvent(t, second, binlog.Delete, [2]uint32{5, 0}), commit)
	cascadePause = 0
	for _, m := range l.tables.all {
		m.cascadeBegan = time.Time{}
	}
	a, b := l.tables.all["shop.t"], l.tables.all["shop.c"]
	src.images = [][2]uint32{{3, 9}, {9, 9}}
	src.Wake()
	runUntil(t, l, to, func() bool {
		return a.Job.Again == "" && b.Job.Again == "" && a.Job.Done && b.Job.Done
	})
	mustHold(t, l.sink, "t:2=-", "t:3=9", "c:6=-", "c:9=9")
}

// A table in quarantine does not make the scans of other tables wait.
func TestReferenceScanInQuarantine(t *testing.T) {
	l, source := referring(t, "CASCADE")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	l.scan = &referenceScan{table: c, plan: c.Plan, taken: 1}
	c.Fault = &tablestate.Fault{Reason: "test"}
	source.images = [][2]uint32{{7, 2}, {9, 4}}
	source.Wake()
	runUntil(t, l, l.sink.(*sinktest.Memory), func() bool { return u.Job.Done && u.Job.ID > 0 })
	mustHold(t, l.sink, "u:7=2", "u:8=-", "u:9=4")
}

// playBuffered handles further events of a script that was received as a whole.
func playBuffered(t *testing.T, l *loop, source *scriptedSource, events ...*binlog.Event) {
	t.Helper()
	source.script = append(source.script, events...)
	for _, ev := range events {
		source.position.Offset++
		if err := l.handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	// As next does, before it waits for the source.
	if err := l.flushCommitted(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Many small transactions that delete parents share a unit.
func TestDeletesShareUnit(t *testing.T) { synctest.Test(t, testDeletesShareUnit) }

func testDeletesShareUnit(t *testing.T) {
	l, source := referring(t, "CASCADE")
	to := l.sink.(*sinktest.Memory)
	c := l.tables.all["shop.c"]
	before, references := len(to.Units(0)), len(c.Job.References)
	c.cascadeBegan = time.Now().Add(time.Hour)
	var events []*binlog.Event
	for id := range uint32(100) {
		events = append(events,
			rowsEvent(t, source.tables[0], binlog.Delete, [2]uint32{100 + id, 0}),
			&binlog.Event{Kind: binlog.Commit, Time: 1000})
	}
	playBuffered(t, l, source, events...)
	if n := len(to.Units(0)) - before; n != 1 || len(c.Job.References) != references+100 {
		t.Errorf("%d units, and %d references, want one unit", n, len(c.Job.References))
	}
}

// In one unit, a row is inserted, its parent is deleted, and a row with the same key is inserted.
// The rows that referred to the first one are found.
func TestRowInsertedAgainInUnit(t *testing.T) {
	l, source := referring(t, "CASCADE")
	c, u := l.tables.all["shop.c"], l.tables.all["shop.u"]
	c.cascadeBegan, u.cascadeBegan = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	commit := &binlog.Event{Kind: binlog.Commit, Time: 1000}
	first, second, third := source.tables[0], source.tables[1], source.tables[2]
	playBuffered(t, l, source,
		rowsEvent(t, first, binlog.Insert, [2]uint32{3, 0}), commit,
		rowsEvent(t, second, binlog.Insert, [2]uint32{5, 2}), commit,
		rowsEvent(t, third, binlog.Insert, [2]uint32{6, 5}), commit,
		rowsEvent(t, first, binlog.Delete, [2]uint32{2, 0}), commit,
		rowsEvent(t, second, binlog.Insert, [2]uint32{5, 3}), commit)
	c.cascadeBegan, u.cascadeBegan = time.Time{}, time.Time{}
	source.images = [][2]uint32{{5, 3}, {9, 4}}
	source.Wake()
	runUntil(t, l, l.sink.(*sinktest.Memory), func() bool {
		return c.Job.Again == "" && u.Job.Again == ""
	})
	mustHold(t, l.sink, "c:2=-", "c:5=3", "u:6=-", "u:9=4")
}
