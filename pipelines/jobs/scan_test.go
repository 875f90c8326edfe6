package jobs

import (
	"strconv"
	"testing"
	"testing/synctest"

	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// scanned runs a test in a synctest bubble, with a world of a table without a key that has n rows.
// A job that reads the table has been added and has not begun.
func scanned(t *testing.T, n int, config Config, test func(w *world, l *Table)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, config, compile(t, loose, tableL))
		w.main = tableL
		for id := range n {
			w.server.set(tableL, nil, numberedCells(id, "old"))
		}
		w.storedPosition = at(n)
		w.stored["t"] = record{Job: tablestate.Job{}}
		w.start()
		test(w, w.tables["t"])
	})
}

func numberedCells(id int, note string) [][]byte {
	return cellsOf(strconv.Itoa(id), "b", "1", note)
}

// mustHoldRows compares the sink with the rows of the server.
func (w *world) mustHoldRows() {
	w.t.Helper()
	want := sinktest.NewMemory("shop")
	var plan *transform.Plan
	for _, p := range w.plans {
		plan = p
	}
	for _, cells := range w.server.rows(w.main, len(w.server.log)) {
		insert(w.t, want, plan, cells)
	}
	w.mustHold(want)
}

// Nothing is written before the stream has passed the fence. Meanwhile the worker reads three
// batches at most: the table is never in memory.
func TestScanWaitsForTheFence(t *testing.T) {
	const rows, batch = 100, 10
	scanned(t, rows, Config{Parallel: 1, ChunkRows: batch}, func(w *world, l *Table) {
		w.afterQuery = func() { w.server.set(tableL, nil, numberedCells(rows, "new")) }
		w.step()
		s := l.tasks[0].(*scan)
		w.allowQuery()
		for range 20 {
			w.step()
		}
		held := len(s.next.read) + batch*len(s.full) + len(s.current.read)
		if units := len(w.sink.Units(0)); units > 0 || held != 3*batch {
			t.Errorf("before the fence, %d units were written and %d rows are held, want %d",
				units, held, 3*batch)
		}
		w.advance()
		if queries := w.run(); queries != 0 || l.Job.Rows != rows || !l.Job.Done {
			t.Errorf("%d further SELECTs; the job is %+v", queries, l.Job)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mustHoldRows()
	})
}

// Rows that the stream updates or deletes while a scan is being written stay as the stream left
// them. Added rows need no memory.
func TestScanBesideChanges(t *testing.T) {
	const rows = 100
	config := Config{Parallel: 1, ChunkRows: 10, DirtyKeyBytes: 20 * (dirtyKeyCost + 10)}
	scanned(t, rows, config, func(w *world, l *Table) {
		w.step()
		w.allowQuery()
		for n := range 500 {
			w.server.set(tableL, nil, numberedCells(1000+n, "added"))
		}
		for id := 5; id < rows; id += 10 {
			w.server.set(tableL, numberedCells(id, "old"), numberedCells(id, "new"))
			w.server.set(tableL, numberedCells(id+1, "old"), nil)
		}
		for w.advance() {
		}
		if queries := w.run(); queries != 0 || l.isPaged {
			t.Errorf("%d further SELECTs; in pages: %v", queries, l.isPaged)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mustHoldRows()
	})
}

// If more rows change than the dirty keys can hold, the SELECT ends, and the table is read in pages
// from its beginning. Each row counts once.
func TestScanOverflows(t *testing.T) {
	const rows = 100
	config := Config{Parallel: 1, ChunkRows: 10, DirtyKeyBytes: 5 * dirtyKeyCost}
	scanned(t, rows, config, func(w *world, l *Table) {
		w.step()
		w.allowQuery()
		w.step()
		for id := range rows {
			w.server.set(tableL, numberedCells(id, "old"), numberedCells(id, "new"))
		}
		for w.advance() {
		}
		queries := w.run()
		if queries < rows/10 || !l.isPaged || l.Job.Rows != rows || w.rows != rows {
			t.Errorf("%d pages; in pages: %v; %d and %d rows", queries, l.isPaged, l.Job.Rows,
				w.rows)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mustHoldRows()
	})
}

// A scan that was interrupted ends its SELECT, and begins again. Pages that a former version has
// begun are continued.
func TestScanBeginsAgain(t *testing.T) {
	const rows = 100
	scanned(t, rows, Config{Parallel: 1, ChunkRows: 10}, func(w *world, l *Table) {
		w.step()
		w.allowQuery()
		for l.Job.Rows == 0 {
			w.step()
		}
		l.Interrupt()
		if queries := w.run(); queries != 1 || l.Job.Rows != rows || w.rows != rows {
			t.Errorf("%d SELECTs after the interruption; %d and %d rows", queries, l.Job.Rows,
				w.rows)
		}
		w.mustHoldRows()
		l.Restart(tablestate.Job{Compare: true, After: cellsOf("49", "b"), Rows: 50})
		w.engine.Add(t.Context(), l)
		if queries := w.run(); queries != 6 || l.Job.Rows != rows {
			t.Errorf("%d pages; %d rows", queries, l.Job.Rows)
		}
		// A restart of the process.
		l.Restart(tablestate.Job{Compare: true})
		if err := w.SaveJob(l); err != nil {
			t.Fatal(err)
		}
		w.engine.Add(t.Context(), l)
		w.step()
		w.allowQuery()
		for l.Job.Rows == 0 {
			w.step()
		}
		w.restart()
		l = w.tables["t"]
		if queries := w.run(); queries != 1 || l.Job.Rows != rows || w.expected != rows {
			t.Errorf("%d SELECTs after a restart; the job is %+v, %d of %d rows", queries, l.Job,
				w.rows, w.expected)
		}
		w.mustHoldRows()
	})
}

// Rows that an initial load adds to a list are read in pages: a scan that begins again would add
// them twice. A job that compares adds nothing.
func TestNoScanIntoList(t *testing.T) {
	plan := compile(t, `
db.t:
  key_columns: [a, b]
  write: [{list: l, value: "{a}", snapshot: true}]`, tableL)
	for _, compares := range []bool{false, true} {
		table := &Table{Schema: tableL, Plan: plan, Job: tablestate.Job{Compare: compares}}
		if got := table.mustScan(); got != compares {
			t.Errorf("compares: %v; scanned: %v", compares, got)
		}
	}
}
