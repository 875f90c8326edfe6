package pipelines_test

import (
	"strings"
	"sync"
	"testing"

	"rowfall/sink"
)

// While the keys of a table are removed, the stream waits, and the hold shows the cause and the
// progress.
func testRemovalShows(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 30)
	m := newMemory()
	seen := make(chan struct{})
	var wait sync.Once
	m.After = func(u *sink.Unit) error {
		if strings.Contains(string(u.Commands.Bytes), "DEL\r\n") {
			wait.Do(func() {
				select {
				case <-seen:
				case <-t.Context().Done():
				}
			})
		}
		return nil
	}
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 7")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("TRUNCATE TABLE t")
	waitFor(t, "the removal shows", func() bool {
		return held(r.pipeline, "removing the keys of "+d.name+".t (TRUNCATE), 7 so far")
	})
	close(seen)
	r.mustEqual(d, &c, m, "a TRUNCATE")
	if held(r.pipeline, "removing") {
		t.Error("the removal shows after its end")
	}
}
