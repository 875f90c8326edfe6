package jobs

import (
	"context"
	"sync/atomic"
	"testing"

	"rowfall/binlog"
)

// testThrottle is a Throttle that a test switches.
type testThrottle struct {
	paused   atomic.Bool
	watching atomic.Bool
}

func (p *testThrottle) Watch(ctx context.Context, wake func()) {
	p.watching.Store(true)
	wake()
	<-ctx.Done()
	p.watching.Store(false)
}

func (p *testThrottle) IsPaused(*binlog.Position) bool { return p.paused.Load() }

// While the throttle pauses, a task that has begun is finished and no other one begins. The load is
// measured only while there is work.
func TestThrottle(t *testing.T) {
	var throttle testThrottle
	config := Config{Parallel: 2, ChunkRows: 2, Throttle: &throttle}
	bubble(t, `"db.*": {}`, config, func(t *testing.T, w *world, o *Table) {
		for id := range 6 {
			w.server.set(tableO, nil, cellsOf(string(rune('0'+id)), "1"))
			w.advance()
		}
		if throttle.watching.Load() {
			t.Error("the load is measured without work")
		}
		w.rebuild(o, false)
		w.step() // a SELECT waits
		throttle.paused.Store(true)
		for range 10 {
			w.step()
			w.allowQuery()
		}
		if o.Job.Rows != 2 || len(o.tasks) > 0 || !throttle.watching.Load() {
			t.Errorf("%d rows were read before the pause ended, want 2; the task is %v",
				o.Job.Rows, o.tasks)
		}
		throttle.paused.Store(false)
		if w.run(); !o.Job.Done || throttle.watching.Load() {
			t.Errorf("after the pause, the job is %+v", o.Job)
		}
	})
}
