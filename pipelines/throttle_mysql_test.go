package pipelines_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"rowfall/sink"
)

// Jobs pause while Threads_running of the server is above the limit. The reason shows as a hold,
// and the stream continues.
func testPauseAboveThreads(t *testing.T, d *database) {
	const busy = 30
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 10)
	name := "pause_" + d.name[max(0, len(d.name)-40):]
	d.exec("DO GET_LOCK('" + name + "', 1)")
	ended := make(chan struct{}, busy)
	for range busy {
		conn := d.dial()
		go func() {
			_, _ = conn.Query(t.Context(),
				"SELECT GET_LOCK('"+name+"', 600), RELEASE_LOCK('"+name+"')")
			ended <- struct{}{}
		}()
	}
	counter := d.dial()
	waitFor(t, "the server is busy", func() bool {
		r, err := counter.Query(t.Context(), "SHOW GLOBAL STATUS LIKE 'Threads_running'")
		must(t, err)
		var n int
		_, err = fmt.Sscan(string(r.Rows[0][1]), &n)
		must(t, err)
		return n > busy
	})
	m := newMemory()
	r := start(t, d.config("chunk_rows: 1000",
		fmt.Sprintf("chunk_rows: 3, pause_above: {threads_running: %d}", busy-5)), m, "")
	waitFor(t, "the pause shows as a hold", func() bool {
		return held(r.pipeline, "jobs pause: Threads_running of MySQL at "+d.addr, "is 3",
			fmt.Sprintf("above pause_above.threads_running %d", busy-5))
	})
	if rows := r.pipeline.Stats().Loaded; rows != 0 {
		t.Errorf("%d rows were loaded during the pause", rows)
	}
	d.exec("INSERT INTO t VALUES (100, 1)")
	waitFor(t, "the stream continues", func() bool { return m.rows("t")["100"] == "1" })
	d.exec("DO RELEASE_LOCK('" + name + "')")
	for range busy {
		<-ended
	}
	m.waitAt(t, d.end())
	waitFor(t, "the table is loaded",
		func() bool { return m.progress(t).Phase == sink.Streaming })
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	waitFor(t, "no hold shows", func() bool { return len(r.pipeline.Stats().Held) == 0 })
}

// laggingSink is a sink with a replica that has acknowledged nothing while stalled is set.
type laggingSink struct {
	*memory
	end, acked atomic.Int64
	stalled    atomic.Bool
}

func (s *laggingSink) ReplicaOffsets() sink.ReplicaOffsets {
	end := s.end.Add(1)
	if !s.stalled.Load() {
		s.acked.Store(end)
	}
	return sink.ReplicaOffsets{End: end, Slowest: s.acked.Load()}
}

// Jobs pause while a replica of the node is behind.
func testPauseAboveLag(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 10)
	m := &laggingSink{memory: newMemory()}
	m.stalled.Store(true)
	// The rate leaves time for the lag to grow.
	r := start(t, d.config("chunk_rows: 1000",
		"chunk_rows: 2, rows_per_second: 2, pause_above: {replica_lag: 1s}"), m, "")
	waitFor(t, "the lag shows as a hold", func() bool {
		return held(r.pipeline, "jobs pause: the slowest replica of the node is ",
			"behind, above pause_above.replica_lag 1s")
	})
	if r.pipeline.Stats().Loaded >= 10 {
		t.Fatal("the table was loaded before the pause")
	}
	m.stalled.Store(false)
	waitFor(t, "the table is loaded",
		func() bool { return m.progress(t).Phase == sink.Streaming })
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}
