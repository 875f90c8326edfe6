package pipelines

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// While a thousand tables are read again, the end of each does not write the list of all others.
// The list shows a table at once that is to be read again, and is complete in the end.
func TestRebuildingOfManyTables(t *testing.T) { synctest.Test(t, testRebuildingOfManyTables) }

func testRebuildingOfManyTables(t *testing.T) {
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, new(scriptedSource))
	defer l.jobs.Close()
	for i := range 1000 {
		table := intTable()
		table.Name = fmt.Sprintf("t%04d", i)
		m, err := l.tables.add(ddl.FromTable(table))
		if err != nil {
			t.Fatal(err)
		}
		m.Job = tablestate.Job{ID: 1, Compare: true}
	}
	flush := func() {
		t.Helper()
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() string {
		t.Helper()
		at, err := to.Progress("test")
		if err != nil {
			t.Fatal(err)
		}
		return at.Rebuilding
	}
	l.tablesChanged()
	flush()
	if n := strings.Count(shown(), "shop.t"); n != 1000 {
		t.Fatalf("%d tables are shown", n)
	}
	names := l.tables.names()
	for i, name := range names {
		l.tables.all[name].Job.Done = true
		l.tablesChanged()
		flush()
		switch i {
		case 50:
			l.tables.all[names[0]].Job.Done = false
			l.tablesChanged()
			if flush(); !strings.Contains(shown(), names[0]) {
				t.Error("a table that is read again is not shown")
			}
			l.tables.all[names[0]].Job.Done = true
		case 100:
			time.Sleep(positionInterval)
			if flush(); strings.Count(shown(), "shop.t") != 899 {
				t.Errorf("after a pause %d tables are shown", strings.Count(shown(), "shop.t"))
			}
		}
	}
	if shown() != "" {
		t.Errorf("in the end rebuilding is %s", shown())
	}
	bytes, last := 0, ""
	for _, u := range to.Units(0) {
		if list := u.Progress.Rebuilding; list != last {
			bytes, last = bytes+len(list), list
		}
	}
	if bytes > 1<<20 {
		t.Errorf("the lists have %d bytes", bytes)
	}
}
