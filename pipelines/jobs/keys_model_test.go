package jobs

import (
	"strconv"
	"testing"
	"testing/synctest"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// Tables that are complete stay as the plans say, although half of their changes are not logged and
// only the keys of the rows are known. The stream writes deltas meanwhile.
func TestKeysJobsAgainstModel(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 40
	}
	for i, m := range modelMappings {
		for seed := range uint64(seeds) {
			if !t.Run(strconv.Itoa(i)+"/"+strconv.FormatUint(seed, 10), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testKeysModel(t, seed, m.mapping) })
			}) {
				return
			}
		}
	}
}

func testKeysModel(t *testing.T, seed uint64, mapping string) {
	w := newWorld(t, seed, Config{}, compile(t, mapping, tableT), compile(t, mapping, tableO))
	w.config = Config{
		Parallel: 1 + w.rng.IntN(3), ChunkRows: 5, ChunkBytes: 20 + w.rng.IntN(500),
	}
	for range 30 {
		w.change()
	}
	for table, plan := range w.plans {
		for _, cells := range w.server.rows(table, len(w.server.log)) {
			insert(t, w.sink, plan, cells)
		}
	}
	w.hasUnlogged = true
	if w.rng.IntN(4) == 0 {
		w.maxSetKeys = 1 + w.rng.IntN(20)
	}
	w.storedPosition = at(len(w.server.log))
	w.stored["o"] = record{Job: tablestate.Job{Done: true}}
	w.stored["t"] = record{Job: tablestate.Job{Done: true}}
	restarts := w.rng.IntN(2) == 0
	isDisturbed := true
	w.queryError = func() error {
		switch r := w.rng.IntN(30); {
		case !isDisturbed || !restarts:
		case r == 0:
			return errInjected
		case r == 1:
			return noSuchTable
		}
		return nil
	}
	w.afterQuery = func() {
		for range w.rng.IntN(3) {
			if isDisturbed {
				w.change()
			}
		}
	}
	w.sink.Before = func(*sink.Unit) error {
		if isDisturbed && restarts && w.rng.IntN(60) == 0 {
			return errInjected
		}
		return nil
	}
	w.start()
	for n := 0; ; n++ {
		isDisturbed = n < 200
		w.proceed(isDisturbed)
		if !isDisturbed && w.isSettled() {
			break
		}
		if n > 5000 {
			t.Fatal("the jobs do not end")
		}
	}
	w.engine.Close()
	w.sink.Before = nil
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
	w.mustHoldNoBlocks()
	if w.engine.tracked != 0 {
		t.Errorf("%d keys are remembered for ever", w.engine.tracked)
	}
	if w.maxSetKeys == 0 && w.reconciled > 0 {
		t.Errorf("%d tables were read as a whole", w.reconciled)
	}
}

// mustHoldNoBlocks checks that the sink holds no keys of keys jobs.
func (w *world) mustHoldNoBlocks() {
	w.t.Helper()
	for _, table := range []*binlog.Table{tableT, tableO} {
		for n := range w.tables[table.Name].keys.next {
			key := sink.BlockKey("shop", tablestate.KeyBlock(table.FullName(), n))
			reply, err := w.sink.Read(w.t.Context(), []byte("GET"), []byte(key))
			if err != nil || !reply.Null {
				w.t.Errorf("block %d of %s is %q, %v", n, table.FullName(), reply.Text, err)
			}
		}
	}
}
