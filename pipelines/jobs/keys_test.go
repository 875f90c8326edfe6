package jobs

import (
	"strconv"
	"testing"

	"rowfall/binlog"
	"rowfall/sink/sinktest"
)

// A keys job whose rows have left members in keys that the rows' keys do not tell removes just
// these, however many they are, and leaves what other rows have left. After a restart the keys that
// were read are not known, so that every member is looked up and a user must confirm the removal.
func TestSweepOfKeysJob(t *testing.T) {
	for _, restart := range []bool{false, true} {
		config := Config{Parallel: 1, ChunkRows: 500}
		bubble(t, setOfO, config, func(t *testing.T, w *world, _ *Table) {
			w.engine.blockKeys = blockKeys
			want := sinktest.NewMemory("shop")
			for id := range 300 {
				cells := cellsOf(strconv.Itoa(id), strconv.Itoa(id%3))
				w.server.set(tableO, nil, cells)
				w.advance()
				if id >= 200 {
					insert(t, want, w.plans[tableO], cells)
				}
			}
			w.execute("SADD", "by:7", "9999") // which no row has written
			if err := w.SaveJob(w.tables["o"]); err != nil {
				t.Fatal(err)
			}
			for id := range 200 {
				cells := cellsOf(strconv.Itoa(id), strconv.Itoa(id%3))
				w.server.setUnlogged(tableO, cells, nil)
				w.advance()
			}
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if restart {
				w.restart()
				w.engine.sweepLocations = sweepLocations
			} else {
				execute(t, want, "SADD", "by:7", "9999")
			}
			w.run()
			o := w.tables["o"]
			if restart {
				if o.Keys == nil || !o.Keys.Sweep.Waiting || o.Keys.Sweep.Stale != 201 {
					t.Fatalf("after a restart the job is %+v", o.Keys)
				}
				o.ConfirmKeys()
				w.engine.Add(t.Context(), o)
				w.run()
			}
			if o.Keys != nil {
				t.Errorf("the job is not done: %+v", o.Keys)
			}
			w.mustHold(want)
		})
	}
}

// A set of keys that becomes too large while a sweep of it runs makes the whole table be read: the
// end of the sweep does not end the job.
func TestKeysBecomeTooManyDuringSweep(t *testing.T) {
	bubble(t, setOfO, Config{Parallel: 1, ChunkRows: 50}, func(t *testing.T, w *world, o *Table) {
		w.engine.maxSetKeys = 3
		w.execute("SADD", "by:1", "1", "2", "3", "4", "5", "6")
		change := func(id string) {
			w.server.setUnlogged(tableO, nil, cellsOf(id, "1"))
			w.advance()
		}
		change("1")
		for o.Keys != nil && o.Keys.Sweep == nil {
			w.allowQuery()
			w.step()
		}
		w.step()
		if len(o.tasks) == 0 || o.Keys == nil {
			t.Fatal("no sweep runs")
		}
		for _, id := range []string{"2", "3", "4", "5"} {
			change(id)
		}
		if o.Keys.Whole == "" {
			t.Fatalf("the set is %+v, want one that is too large", o.Keys)
		}
		w.run()
		if w.reconciled != 1 || !o.Job.Done || o.Keys != nil {
			t.Errorf("read as a whole %d times, the job is %+v, the keys %+v", w.reconciled, o.Job,
				o.Keys)
		}
		want := sinktest.NewMemory("shop")
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			insert(t, want, w.plans[tableO], cellsOf(id, "1"))
		}
		w.mustHold(want)
	})
}

// A batch whose rows are too large for the memory of a chunk is cut short. A key may be in the set
// more than once.
func TestKeyBatch(t *testing.T) {
	config := Config{Parallel: 1, ChunkRows: 50, ChunkBytes: 100}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		w.engine.blockKeys = blockKeys
		want := sinktest.NewMemory("shop")
		var keys []Key
		for id := range 40 {
			cells := cellsOf(strconv.Itoa(id), "1")
			w.server.log = append(w.server.log, event{unlogged, tableO, nil, cells})
			insert(t, want, w.plans[tableO], cells)
			keys = append(keys, Key{cells[0]}, Key{cells[0]})
		}
		w.position = at(len(w.server.log))
		if err := w.engine.AddKeys(o, "test", keys); err != nil {
			t.Fatal(err)
		}
		queries := w.run()
		if queries < 3 {
			t.Errorf("%d SELECTs, want the rows cut in parts", queries)
		}
		w.mustHold(want)
		if must, err := o.MustReplace(&binlog.Change{After: row(tableO, cellsOf("1", "2"))}); must {
			t.Errorf("after the job, rows are replaced (%v)", err)
		}
	})
}
