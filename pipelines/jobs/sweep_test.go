package jobs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

const setOfO = `
db.o:
  write:
    - set: by:{x}
      member: "{id}"
      when_null: skip`

// Rows are looked up by the key of the table alone, if a location determines it.
func TestPlacesOfKey(t *testing.T) {
	for _, c := range []struct {
		table         *binlog.Table
		columns, want []int
	}{
		{tableT, []int{2, 1, 0}, []int{2, 1}},
		{tableT, []int{0, 1}, []int{0, 1}},
		{tableT, []int{0, 2}, []int{0, 1}}, // the other key column cannot be compared
		{tableL, []int{2, 1, 0}, []int{0, 1, 2}},
	} {
		if got := placesOfKey(c.table, c.columns); !slices.Equal(got, c.want) {
			t.Errorf("%v of key %v: %v, want %v", c.columns, c.table.Key(), got, c.want)
		}
	}
}

// A sweep that would remove more than half of what it finds waits until a user confirms it, and
// counts everything once, however it is interrupted.
func TestSweepWaits(t *testing.T) {
	for _, c := range []struct {
		stale, rows int
		waits       bool
	}{
		{1, 0, false}, {100, 0, false}, {101, 0, true}, {101, 100, true}, {101, 101, false},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.stale, c.stale+c.rows), func(t *testing.T) {
			config := Config{Parallel: 1, ChunkRows: 50}
			bubble(t, setOfO, config, func(t *testing.T, w *world, o *Table) {
				w.engine.sweepLocations = 60
				want := sinktest.NewMemory("shop")
				for id := range c.rows {
					cells := cellsOf(strconv.Itoa(id), strconv.Itoa(id%7))
					w.server.set(tableO, nil, cells)
					w.advance()
					insert(t, want, w.plans[tableO], cells)
				}
				for i := range c.stale {
					w.execute("SADD", "by:"+strconv.Itoa(i%5), strconv.Itoa(1000+i))
				}
				w.rebuild(o, false)
				for n := 0; n < 20 && o.cursor.checked == 0; n++ { // until the sweep has begun
					w.step()
					w.allowQuery()
				}
				o.Interrupt()
				before := dump(t, w.sink)
				w.run()
				if c.waits {
					s := o.Job.Sweep
					if !s.Waiting || s.Stale != int64(c.stale) ||
						s.Checked != int64(c.stale+c.rows) || dump(t, w.sink) != before {
						t.Errorf("the sweep is %+v", s)
					}
					o.Job.Sweep = &tablestate.Sweep{Reached: true, Remove: true, Confirmed: true}
					w.engine.Add(t.Context(), o)
					w.run()
				}
				if !o.Job.Done {
					t.Errorf("the job is %+v", o.Job)
				}
				w.mustHold(want)
			})
		})
	}
}

// A failed SELECT of a sweep is repeated: what it would have looked up is not left out.
func TestFailedSweepIsRepeated(t *testing.T) {
	bubble(t, setOfO, Config{Parallel: 1, ChunkRows: 50}, func(t *testing.T, w *world, o *Table) {
		w.execute("SADD", "by:1", "1", "2")
		w.rebuild(o, false)
		fails := true
		w.queryError = func() error {
			if o.Job.Sweep == nil || !o.Job.Sweep.Reached || !fails {
				return nil
			}
			fails = false
			return noSuchTable
		}
		w.run()
		if got := dump(t, w.sink); got != "" || fails {
			t.Errorf("the SELECT failed: %v; the sink holds\n%s", !fails, got)
		}
	})
}

// A sweep holds few members at a time if they are large.
func TestSweepMemory(t *testing.T) {
	bubble(t, setOfO, Config{Parallel: 1}, func(t *testing.T, w *world, _ *Table) {
		const members, size = 300, 64 << 10
		plan := compile(t, `
db.t:
  write:
    - set: all
      member: "{a}:{b}"`, tableT)
		w.plans[tableT] = plan
		large := strings.Repeat("x", size)
		for i := range members {
			w.execute("SADD", "all", strconv.Itoa(i)+":"+large)
		}
		table := &Table{
			Database: "db", Name: "t", Schema: tableT, Plan: plan, Job: compareJob(),
		}
		table.Job.Sweep.Reached = true
		found := 0
		for !table.cursor.isAtEnd() {
			s, err := w.engine.nextSweep(t.Context(), table, false)
			if err != nil {
				t.Fatal(err)
			}
			found += len(s.locations)
			if s.size > 3*sweepBytes {
				t.Fatalf("a sweep holds %d bytes", s.size)
			}
		}
		if found != members {
			t.Errorf("%d members were found, want %d", found, members)
		}
	})
}

// While a sweep waits for its answer, a statement may change any number of rows.
func TestDirtyLocationsAreBounded(t *testing.T) {
	bubble(t, setOfO, Config{Parallel: 1, ChunkRows: 50}, func(t *testing.T, w *world, o *Table) {
		w.execute("SADD", "by:1", "1", "2")
		o.Job = compareJob()
		o.Job.Sweep.Reached = true
		w.engine.Add(t.Context(), o)
		w.step()
		s := o.tasks[0].(*sweep)
		for id := range 60_000 {
			w.server.log = append(w.server.log[:0], event{
				rowChanged, tableO, nil, cellsOf(strconv.Itoa(1+id), "1"),
			})
			w.position = at(0)
			if err := w.apply(o, &w.server.log[0]); err != nil {
				t.Fatal(err)
			}
			w.unit.Commands.Reset()
		}
		if len(s.dirty) != 2 || !s.dirty[0] || !s.dirty[1] || s.discarded {
			t.Errorf("dirty is %v, discarded %v", s.dirty, s.discarded)
		}
		w.engine.Close()
	})
}

// A key that gets another type, or ends, while its members are scanned has no further members.
func TestKeyChangesWhileItIsScanned(t *testing.T) {
	bubble(t, setOfO, Config{Parallel: 1, ChunkRows: 50}, func(t *testing.T, w *world, o *Table) {
		w.engine.sweepLocations = 50
		for key := range 3 {
			for id := range 600 {
				w.execute("SADD", "by:"+strconv.Itoa(key), "9"+strconv.Itoa(id))
			}
		}
		w.rebuild(o, false)
		for o.cursor.members == "" {
			w.step()
			w.allowQuery()
		}
		scanned := string(o.cursor.found[0])
		w.execute("DEL", scanned)
		w.execute("SET", scanned, "x")
		gone := string(o.cursor.found[1])
		w.execute("DEL", gone)
		o.Job.Sweep.Confirmed = true
		w.run()
		if got, want := dump(t, w.sink), fmt.Sprintf("%q string \"x\"\n", scanned); got != want {
			t.Errorf("the sink holds %s, want %s", got, want)
		}
	})
}

// The entries of lists and streams belong to no row, so that neither a sweep nor the removal of a
// table's keys touches them. A channel has no keys to scan.
func TestEntriesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := compile(t, `
db.o:
  write:
    - publish: news
      message: "{id}"
    - list: list:{id}
      value: "{id}"
      snapshot: true
    - hash: h:{id}
    - stream: stream:{id}`, tableO)
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10}, plan)
		w.execute("RPUSH", "list:2", "x")
		w.execute("XADD", "stream:2", "5-0", "op", "insert")
		w.execute("HSET", "h:2", "id", "2")
		w.server.set(tableO, nil, cellsOf("1", "1"))
		w.storedPosition = at(1)
		w.stored["o"] = record{Job: tablestate.Job{Compare: true, Sweep: &tablestate.Sweep{}}}
		w.start()
		w.run()
		want := sinktest.NewMemory("shop")
		execute(t, want, "RPUSH", "list:2", "x")
		execute(t, want, "XADD", "stream:2", "5-0", "op", "insert")
		execute(t, want, "HSET", "h:1", "id", "1", "x", "1")
		w.mustHold(want)
		if _, err := (Removal{Plan: plan, Limit: 10}).Run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		execute(t, want, "DEL", "h:1")
		w.mustHold(want)
	})
}
