package jobs

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// A table that is read in ranges ends as the model has it, whatever is written meanwhile, and if
// the run ends at any step. A version that does not know ranges continues after Job.After.
func TestRangesAgainstModel(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	inRanges, resumed, extended, ahead := 0, 0, 0, 0
	for seed := range seeds {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := testRanges(t, seed)
				inRanges, resumed = inRanges+w.inRanges, resumed+w.resumedRanges
				extended, ahead = extended+w.extended, ahead+w.ahead
			})
		}) {
			return
		}
	}
	t.Logf("%d steps with several ranges of a table in flight, %d jobs resumed in ranges, "+
		"%d steps with chunks that were extended, %d with chunks that were read ahead",
		inRanges, resumed, extended, ahead)
	if inRanges == 0 || resumed == 0 || extended == 0 || ahead == 0 {
		t.Error("no table was read, or no job was resumed, in several ranges, " +
			"or no chunk was extended or read ahead")
	}
}

func testRanges(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, Config{}, compile(t, `"db.*": {}`, tableT),
		compile(t, `"db.*": {}`, tableO))
	w.config = Config{
		Parallel: 2 + w.rng.IntN(3), ChunkRows: 1 + w.rng.IntN(5),
		DirtyKeyBytes: dirtyKeyCost * (1 + w.rng.IntN(6)) << w.rng.IntN(6),
	}
	// A range is read ahead once it has too few rows to be divided.
	w.splitChunks = []int{1, 20, 1000}[w.rng.IntN(3)]
	w.estimate, w.hasReplicas = 150, w.rng.IntN(3) == 0
	for range 200 {
		w.changeAnywhere()
	}
	job := tablestate.Job{}
	if w.rng.IntN(2) == 0 {
		job = tablestate.Job{Compare: true, Sweep: &tablestate.Sweep{}}
	}
	w.stored["t"], w.stored["o"] = record{Job: job}, record{Job: job}
	if w.rng.IntN(2) == 0 { // another table would take the idle workers
		w.stored["o"] = record{Job: tablestate.Job{Done: true}}
		for _, cells := range w.server.rows(tableO, len(w.server.log)) {
			insert(t, w.sink, w.plans[tableO], cells)
		}
	}
	w.storedPosition = at(len(w.server.log))
	w.start()
	for n := 0; !w.isSettled(); n++ {
		isDisturbed := n < 600
		switch r := w.rng.IntN(20); {
		case r == 0 && isDisturbed:
			w.restart()
		case r == 1 && isDisturbed && w.rng.IntN(5) == 0:
			w.server.log = append(w.server.log, event{kind: altered, table: tableT})
		case r == 2 && isDisturbed && w.rng.IntN(5) == 0:
			w.restartWithoutRanges()
		case r < 8 && isDisturbed:
			w.changeAnywhere()
		case r < 14:
			w.allowQuery()
			w.step()
		default:
			w.advance()
		}
		if n > 20_000 {
			t.Fatal("the jobs do not end")
		}
	}
	w.engine.Close()
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := sinktest.NewMemory("shop")
	for table, plan := range w.plans {
		for _, cells := range w.server.rows(table, len(w.server.log)) {
			insert(t, want, plan, cells)
		}
	}
	w.mustHold(want)
	return w
}

// changeAnywhere inserts, updates, moves or deletes a row among some hundred keys.
func (w *world) changeAnywhere() {
	number := func(from, n int) []byte {
		return strconv.AppendInt(nil, int64(from+w.rng.IntN(n)), 10)
	}
	table, next := tableT, [][]byte{number(-100, 200), number(0, 2), number(0, 9), nil}
	if w.rng.IntN(3) == 0 {
		table, next = tableO, [][]byte{number(0, 200), number(0, 9)}
	}
	rows := w.server.rows(table, len(w.server.log))
	before, taken := rows[keyOf(table, next)]
	switch {
	case taken && w.rng.IntN(3) == 0:
		w.server.set(table, before, nil)
	case taken:
		w.server.set(table, before, next)
	case len(rows) > 50 && w.rng.IntN(2) == 0: // a row moves to another key
		keys := slices.Sorted(maps.Keys(rows))
		w.server.set(table, rows[keys[w.rng.IntN(len(keys))]], next)
	default:
		w.server.set(table, nil, next)
	}
}

// restartWithoutRanges restarts with a version that does not know ranges.
func (w *world) restartWithoutRanges() {
	for name, r := range w.stored {
		r.Job.Ranges = nil
		w.stored[name] = r
	}
	w.restart()
}

// inRanges runs a test with one table, which has rows with some ids and a job.
func inRanges(
	t *testing.T, c Config, job tablestate.Job, ids []int,
	test func(t *testing.T, w *world, o *Table),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, c, compile(t, `"db.*": {}`, tableO))
		for _, id := range ids {
			w.server.set(tableO, nil, cellsOf(strconv.Itoa(id), "1"))
		}
		w.estimate = int64(len(ids))
		w.storedPosition = at(len(w.server.log))
		w.stored["o"] = record{Job: job}
		w.start()
		test(t, w, w.tables["o"])
		w.run()
		want := sinktest.NewMemory("shop")
		for _, cells := range w.server.rows(tableO, len(w.server.log)) {
			if id, _ := strconv.Atoi(string(cells[0])); job.After == nil || id > 5 {
				insert(t, want, w.plans[tableO], cells)
			}
		}
		if o := w.tables["o"]; !o.Job.Done || o.Job.Ranges != nil || o.ranges != nil {
			t.Errorf("after the end, the job is %+v", o.Job)
		}
		w.mustHold(want)
	})
}

// idsFrom returns n ids from the first one on.
func idsFrom(first, n int) (ids []int) {
	for id := range n {
		ids = append(ids, first+id)
	}
	return ids
}

// A large table is read in two ranges at a time. Both are stored, and another run continues both.
func TestLargeTableIsReadInRanges(t *testing.T) {
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 400),
		func(t *testing.T, w *world, o *Table) {
			w.step()
			w.allowQuery() // the first chunk, which finds the end of the table
			w.step()
			if len(o.tasks) != 2 || w.engine.active != 2 {
				t.Fatalf("%d chunks of the table are in flight, want 2", len(o.tasks))
			}
			for range 4 {
				w.allowQuery()
				w.step()
			}
			stored := w.stored["o"].Job
			if len(stored.Ranges) != 2 || stored.Ranges[0].Until == nil ||
				stored.Ranges[1].Until != nil || string(stored.Ranges[1].After[0]) <= "204" {
				t.Fatalf("stored are %q", stored.Ranges)
			}
			w.restart()
			o = w.tables["o"]
			w.step()
			if len(o.tasks) != 2 {
				t.Fatalf("after a restart %d chunks are in flight, want 2", len(o.tasks))
			}
			for i, task := range o.tasks {
				if got, want := task.(*chunk).after, stored.Ranges[i].After; string(got[0]) !=
					string(want[0]) {
					t.Errorf("range %d continues after %s, want %s", i, got, want)
				}
			}
		})
}

// The only worker reads the next chunk while a chunk is applied.
func TestReadsWhileApplying(t *testing.T) {
	inRanges(t, Config{Parallel: 1, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 400),
		func(t *testing.T, w *world, _ *Table) {
			if n := w.run(); w.besides < 30 || n > 41 {
				t.Errorf("%d SELECTs; during %d units the worker had a task", n, w.besides)
			}
		})
}

// A job that a version without ranges has stored continues after its last row, and is split.
func TestJobWithoutRangesContinues(t *testing.T) {
	job := tablestate.Job{After: [][]byte{[]byte("5")}, Rows: 6}
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, job, idsFrom(0, 400),
		func(t *testing.T, w *world, o *Table) {
			w.step()
			if c := o.tasks[0].(*chunk); len(o.tasks) != 1 || string(c.after[0]) != "5" {
				t.Fatalf("%d chunks; the first is after %s", len(o.tasks), c.after)
			}
			w.run()
			if w.inRanges == 0 || o.Job.Rows != 400 {
				t.Errorf("%d rows were read, in ranges: %v", o.Job.Rows, w.inRanges > 0)
			}
		})
}

// If the ids lie far apart, empty halves cost few SELECTs, and the rows are read in ranges.
func TestRangesOfSkewedKey(t *testing.T) {
	ids := append(idsFrom(0, 400), math.MaxInt32)
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, tablestate.Job{}, ids,
		func(t *testing.T, w *world, o *Table) {
			if n := w.run(); n > 41+2*32 || w.inRanges < 20 {
				t.Errorf("%d SELECTs; %d steps with two chunks in flight", n, w.inRanges)
			}
		})
}

// These tables stay one range: those whose rows are added to a list, those whose key does not begin
// with an integer, small ones, and every table while another one waits.
func TestTablesOfOneRange(t *testing.T) {
	textual := *tableT
	textual.Primary = []int{1, 0}
	list := `"db.*": {write: [{list: l, value: "{id}", snapshot: true}]}`
	for name, c := range map[string]struct {
		table    *binlog.Table
		mapping  string
		estimate int64
		want     bool
	}{
		"integer": {tableO, `"db.*": {}`, 1000, true},
		"list":    {tableO, list, 1000, false},
		"text":    {&textual, `"db.*": {}`, 1000, false},
		"small":   {tableO, `"db.*": {}`, 99, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, Config{Parallel: 3, ChunkRows: 10}, compile(t, c.mapping, c.table))
			for id := range 300 {
				w.server.set(c.table, nil,
					[][]byte{strconv.AppendInt(nil, int64(id), 10), []byte("1"), nil, nil}[:len(
						c.table.Columns)])
			}
			w.estimate, w.storedPosition = c.estimate, at(len(w.server.log))
			w.start()
			w.run()
			if (w.inRanges > 0) != c.want {
				t.Errorf("%s: several chunks were in flight: %v", name, w.inRanges > 0)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w, tables := numbered(t, Config{Parallel: 2, ChunkRows: 10}, 3)
		for _, table := range tables {
			table.Estimate = 1000
			for id := range 100 {
				w.server.set(table.Schema, nil, cellsOf(strconv.Itoa(id)))
			}
		}
		w.position = at(len(w.server.log))
		for range 12 {
			w.step()
			w.allowQuery()
		}
		if w.inRanges > 0 {
			t.Error("a table has two chunks in flight while another table waits")
		}
		w.run()
	})
}

// While a chunk waits for its fence, an idle worker reads the next chunk of its range, but not a
// third one. The chunks are applied in their order, also if only the second one's fence has passed.
func TestReadAhead(t *testing.T) {
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 35),
		func(t *testing.T, w *world, o *Table) {
			w.server.set(tableO, nil, cellsOf("35", "1")) // the stream has not sent this row yet
			w.step()
			w.allowQuery()
			w.step()
			if len(o.tasks) != 2 || len(o.ranges) != 1 {
				t.Fatalf("%d chunks of %d ranges are in flight", len(o.tasks), len(o.ranges))
			}
			first, second := o.tasks[0].(*chunk), o.tasks[1].(*chunk)
			if string(second.after[0]) != "9" || first.isExtended() {
				t.Fatalf("the second chunk is after %s, the first is extended: %v", second.after,
					first.isExtended())
			}
			second.isFull = true // so that it is not extended
			w.allowQuery()
			w.step()
			extends := w.engine.canExtend(first)
			if len(w.engine.pending) != 2 || len(o.tasks) != 2 || extends || o.Job.Rows != 0 {
				t.Fatalf("%d chunks are in flight; the first can be extended: %v; %d rows applied",
					len(o.tasks), extends, o.Job.Rows)
			}
			second.fence = at(0)
			if err := w.engine.applyPassed(t.Context()); err != nil {
				t.Fatal(err)
			}
			if o.Job.Rows != 0 {
				t.Fatal("the second chunk was applied before the first")
			}
			w.advance()
			w.step()
			if o.Job.Rows < 20 || string(o.Job.After[0]) < "19" {
				t.Errorf("%d rows were applied, up to %s", o.Job.Rows, o.Job.After)
			}
		})
}

// If the second chunk of a range must be read again, the first one is not extended over its rows:
// the range would go back to the end of the second one afterwards, and read rows twice.
func TestNoExtensionOverRepeatedChunk(t *testing.T) {
	inRanges(t, Config{Parallel: 1, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 35),
		func(t *testing.T, w *world, o *Table) {
			w.server.set(tableO, nil, cellsOf("35", "1")) // the stream has not sent this row yet
			w.step()
			w.allowQuery()
			if err := w.engine.receive(); err != nil {
				t.Fatal(err)
			}
			first := o.tasks[0].(*chunk)
			if !w.engine.canExtend(first) {
				t.Fatal("the chunk cannot be extended")
			}
			first.of.repeat = &chunk{after: first.result.Last}
			if w.engine.canExtend(first) {
				t.Error("the chunk is extended over the rows of the chunk that is repeated")
			}
			first.of.repeat = nil
		})
}

// While the loop applies a chunk, an idle worker has the next chunk of the range.
func TestReadsWhileLoopApplies(t *testing.T) {
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 35),
		func(t *testing.T, w *world, o *Table) {
			inFlight := 0
			w.sink.Before = func(*sink.Unit) error {
				inFlight = max(inFlight, len(o.tasks))
				return nil
			}
			w.step()
			w.allowQuery()
			w.step()
			w.sink.Before = nil
			if o.Job.Rows != 10 || inFlight != 2 {
				t.Errorf("%d rows were applied while %d chunks were in flight", o.Job.Rows,
					inFlight)
			}
		})
}

// An error of one range discards what the other ones have read, and each continues where it was.
func TestFailureOfOneRange(t *testing.T) {
	inRanges(t, Config{Parallel: 2, ChunkRows: 10}, tablestate.Job{}, idsFrom(0, 400),
		func(t *testing.T, w *world, o *Table) {
			w.step()
			w.allowQuery()
			w.step()
			w.queryError = func() error { w.queryError = nil; return noSuchTable }
			w.allowQuery()
			w.step()
			if o.pauses != 1 || len(o.tasks) != 1 || !o.tasks[0].base().discarded {
				t.Fatalf("%d pauses, tasks %v", o.pauses, o.tasks)
			}
			w.allowQuery()
			w.step()
			if len(o.tasks) != 0 || o.Job.Rows != 10 {
				t.Fatalf("%d tasks, %d rows", len(o.tasks), o.Job.Rows)
			}
			time.Sleep(time.Minute)
		})
}

// A chunk that was requested before its range was divided ends the range if it reads beyond it.
func TestRangeEnds(t *testing.T) {
	text := func(s string) [][]byte { return [][]byte{[]byte(s)} }
	for last, want := range map[string]bool{"-7": false, "9": false, "10": true, "11": true} {
		table := &Table{Schema: tableT}
		r := &keyRange{Range: tablestate.Range{After: text("-9"), Until: text("10")}}
		second := &keyRange{Range: tablestate.Range{After: text("10")}}
		table.ranges = []*keyRange{r, second}
		table.advance(r, &query.ChunkResult{Last: text(last)})
		if slices.Contains(table.ranges, r) == want {
			t.Errorf("after %s: %q", last, table.Job.Ranges)
		}
		// The key has two columns, so no older version can continue after one.
		if table.Job.After != nil || len(table.Job.Ranges) != len(table.ranges) {
			t.Errorf("after %s the job is %+v", last, table.Job)
		}
	}
}

func TestOrdinals(t *testing.T) {
	signed := &binlog.Column{Type: binlog.TypeBigInt}
	unsigned := &binlog.Column{Type: binlog.TypeBigInt, Unsigned: true}
	for _, c := range []struct {
		column *binlog.Column
		texts  []string
	}{
		{signed, []string{"-9223372036854775808", "-1", "0", "1", "9223372036854775807"}},
		{unsigned, []string{"0", "1", "9223372036854775808", "18446744073709551615"}},
	} {
		var before uint64
		for i, text := range c.texts {
			n, ok := ordinal(c.column, []byte(text))
			if !ok || i > 0 && n <= before || string(appendOrdinal(nil, c.column, n)) != text {
				t.Errorf("%s is number %d, %v", text, n, ok)
			}
			before = n
		}
	}
	if n, ok := ordinal(unsigned, []byte("0042")); !ok || n != 42 { // ZEROFILL
		t.Errorf("0042 is number %d, %v", n, ok)
	}
	for _, text := range []string{"", "x", "1.5", "99999999999999999999"} {
		if n, ok := ordinal(signed, []byte(text)); ok {
			t.Errorf("%q is number %d", text, n)
		}
	}
}
