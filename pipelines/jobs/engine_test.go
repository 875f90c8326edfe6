package jobs

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// compareJob returns a job that compares and sweeps.
func compareJob() tablestate.Job {
	return tablestate.Job{ID: 1, Compare: true, Sweep: &tablestate.Sweep{}}
}

// bubble runs a test in a synctest bubble, with a world of db.o under a mapping.
func bubble(
	t *testing.T, mapping string, config Config, test func(t *testing.T, w *world, o *Table),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, config, compile(t, mapping, tableO))
		w.start()
		w.engine.sweepLocations = sweepLocations
		o := w.tables["o"]
		o.Job.Done = true // so that the engine has nothing to do
		w.run()
		test(t, w, o)
	})
}

// A row that cannot be written puts the table into quarantine. Its job ends there: it neither reads
// again nor writes anything until the table leaves quarantine.
func TestQuarantineEndsTheJob(t *testing.T) {
	config := Config{Parallel: 2, ChunkRows: 10}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		w.server.set(tableO, nil, cellsOf("1", "1"))
		w.advance()
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.execute("DEL", "o:1")
		w.execute("SET", "o:1", "before")
		w.queryError = func() error { return &transform.RowError{Reason: "injected"} }
		w.rebuild(o, false)
		if n := w.run(); n != 1 || w.faults != 1 {
			t.Errorf("%d SELECTs and %d faults, want one of each", n, w.faults)
		}
		w.engine.Add(w.t.Context(), o)
		if !w.engine.IsIdle() {
			t.Error("a job of a table in quarantine runs")
		}
		w.queryError = nil
		// A fault of the stream ends a job whose answer is under way.
		w.rebuild(o, false)
		w.step()
		w.allowQuery()
		if err := w.Fault(o, &transform.RowError{Reason: "injected"}); err != nil {
			t.Fatal(err)
		}
		if n := w.run(); n != 0 {
			t.Errorf("%d SELECTs after the fault", n)
		}
		if got := dump(t, w.sink); got != "\"o:1\" string \"before\"\n" {
			t.Errorf("in quarantine, the sink became\n%s", got)
		}
		w.rebuild(o, false)
		w.run()
		if got := dump(t, w.sink); got != "\"o:1\" hash \"id=1\" \"x=1\"\n" {
			t.Errorf("after quarantine, the sink is\n%s", got)
		}
	})
}

// An error of a SELECT that arrives after Interrupt concerns what is not wanted any more.
func TestErrorAfterInterrupt(t *testing.T) {
	config := Config{Parallel: 1, ChunkRows: 10}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		w.queryError = func() error { return errInjected }
		w.rebuild(o, false)
		w.step()
		o.Interrupt()
		w.allowQuery()
		w.queryError = nil
		w.run()
		if w.restarts > 0 || !o.Job.Done {
			t.Errorf("%d restarts, the job is done: %v", w.restarts, o.Job.Done)
		}
	})
}

// A table that is removed while a SELECT of it runs is not read any more, and nothing of it is
// written. A table that gets its name has its own job.
func TestRemovedTable(t *testing.T) {
	config := Config{Parallel: 1, ChunkRows: 10}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		w.server.set(tableO, nil, cellsOf("1", "1"))
		w.advance()
		w.rebuild(o, false)
		w.step()
		o.Restart(tablestate.Job{Skipped: true})
		again := &Table{
			Database: "db", Name: "o", Schema: tableO, Plan: w.plans[tableO], Job: compareJob(),
		}
		w.tables["o"] = again
		w.engine.Add(w.t.Context(), again)
		w.allowQuery()
		w.step()
		if len(o.tasks) > 0 || o.queued || o.Job.Done {
			t.Errorf("the removed table has the tasks %v, queued %v, done %v", o.tasks, o.queued,
				o.Job.Done)
		}
		units := len(w.sink.Units(0))
		w.run()
		if !again.Job.Done || len(w.sink.Units(units)) == 0 || again.Job.Rows != 1 {
			t.Errorf("the job of the new table is %+v", again.Job)
		}
	})
}

// A table that cannot be read waits longer after each attempt, and does not keep others waiting.
// After an attempt that succeeds, it begins with a second again.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := `"db.*": {}`
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10},
			compile(t, plan, tableO), compile(t, plan, tableT))
		w.start()
		o, other := w.tables["o"], w.tables["t"]
		other.Job.Done = true
		var attempts []time.Duration
		start := time.Now()
		w.queryError = func() error {
			attempts = append(attempts, time.Since(start).Round(time.Second))
			if len(attempts) < 5 {
				return noSuchTable
			}
			return nil
		}
		w.run()
		second := time.Second
		want := []time.Duration{0, second, 3 * second, 7 * second, 15 * second}
		if !slices.Equal(attempts, want) || o.pauses != 0 {
			t.Errorf("attempts at %v, want %v; then %d pauses", attempts, want, o.pauses)
		}
		w.queryError = func() error { return noSuchTable }
		o.Restart(compareJob())
		w.engine.Add(t.Context(), o)
		w.step()
		w.allowQuery()
		w.step()
		w.queryError = nil
		w.rebuild(other, false)
		for range 20 { // no time passes
			w.step()
			w.allowQuery()
		}
		if !other.Job.Done || o.Job.Done {
			t.Errorf("the other table is done: %v, the paused one: %v", other.Job.Done, o.Job.Done)
		}
		w.run()
	})
}

// Tables take turns, and more workers than tables change nothing.
func TestTablesTakeTurns(t *testing.T) {
	for _, parallel := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			w, tables := numbered(t, Config{Parallel: parallel, ChunkRows: 1}, 3)
			for _, table := range tables {
				for id := range 5 {
					w.server.set(table.Schema, nil, cellsOf(string(rune('0'+id))))
				}
			}
			w.position = at(len(w.server.log))
			for w.step(); !w.engine.IsIdle(); w.step() {
				if !w.allowQuery() {
					t.Fatal("no SELECT is under way")
				}
				least, most := tables[0].Job.Rows, tables[0].Job.Rows
				for _, table := range tables {
					least, most = min(least, table.Job.Rows), max(most, table.Job.Rows)
				}
				if most > least+1 {
					t.Fatalf("one table has %d rows, another %d", most, least)
				}
			}
			for _, table := range tables {
				if table.Job.Rows != 5 {
					t.Errorf("%d rows were read, want 5", table.Job.Rows)
				}
			}
		})
	}
}

// Close ends the workers, whatever they do. Another run begins where the first has stored its job.
func TestClose(t *testing.T) {
	config := Config{Parallel: 3, ChunkRows: 10, RowsPerSecond: 1}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		w.server.set(tableO, nil, cellsOf("1", "1"))
		w.advance()
		w.rebuild(o, false)
		w.step() // a SELECT waits
		w.engine.Close()
		synctest.Wait()
		var none *Engine
		none.Close()
		w.engine.Close()
		w.start() // another run
		w.rebuild(w.tables["o"], false)
		w.run()
		if !w.tables["o"].Job.Done {
			t.Error("the job of the second run did not end")
		}
	})
}

// What is reported covers jobs that begin again, wait for a confirmation, and were resumed.
func TestReport(t *testing.T) {
	c := Config{Parallel: 1, ChunkRows: 2}
	bubble(t, `"db.*": {}`, c, func(t *testing.T, w *world, o *Table) {
		w.estimate = 4
		for id := range 4 {
			w.server.set(tableO, nil, cellsOf(string(rune('0'+id)), "1"))
			w.advance()
		}
		w.rebuild(o, false)
		if w.rows != 0 || w.expected != 4 {
			t.Errorf("%d rows of %d before the job", w.rows, w.expected)
		}
		w.step()
		w.allowQuery()
		w.step()
		if w.rows != 2 || w.expected != 4 {
			t.Errorf("%d rows of %d after a chunk", w.rows, w.expected)
		}
		w.rebuild(o, false)
		w.run()
		if w.rows != 6 || w.expected != 6 {
			t.Errorf("%d rows of %d after a job that began again", w.rows, w.expected)
		}
		o.Job = tablestate.Job{
			Rows: 4, Compare: true, Sweep: &tablestate.Sweep{Reached: true, Remove: true},
		}
		w.engine.Add(t.Context(), o) // as after a confirmation
		w.run()
		if w.rows != 6 || w.expected != 6 {
			t.Errorf("%d rows of %d after a confirmed sweep", w.rows, w.expected)
		}
	})
}

// A column that cannot be compared exactly, such as a JSON document, may be in a key as long as
// another column leads back to the row. If none does, or if the table cannot be read in the order
// of its key, the table is at fault and not the pipeline.
func TestInexactColumns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, isKey := range []bool{false, true} {
			table := &binlog.Table{
				Database: "db", Name: "p", Primary: []int{0},
				Columns: []binlog.Column{
					{Name: "id", SQLType: "int", Type: binlog.TypeInt},
					{Name: "price", SQLType: "json", Type: binlog.TypeJSON},
				},
			}
			if isKey {
				table.Primary[0] = 1
			}
			mapping := `
db.p:
  write:
    - set: by:{price}
      member: "{pk...}"`
			w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10}, compile(t, mapping, table))
			w.execute("SADD", "by:1.5", "1", "2")
			w.server.set(table, nil, cellsOf("1", "1.5"))
			w.storedPosition = at(1)
			w.stored["p"] = record{Job: compareJob()}
			w.start()
			w.run()
			want := "\"by:1.5\" set \"1\"\n"
			if isKey {
				want = "\"by:1.5\" set \"1\" \"2\"\n"
			}
			p := w.tables["p"]
			if got := dump(t, w.sink); got != want || p.Job.Done == isKey || w.faults > 1 ||
				(p.Fault != nil) != isKey {
				t.Errorf("JSON as key: %v; the job is %+v, the fault %v, the sink\n%s", isKey,
					p.Job, p.Fault, got)
			}
		}
	})
}
