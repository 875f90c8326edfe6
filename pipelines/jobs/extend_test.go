package jobs

import (
	"strconv"
	"testing"

	"rowfall/pipelines/tablestate"
)

// A load ends although the source writes faster than the stream applies. Each chunk waits until the
// stream has passed the end of the binlog at the time of its SELECT. Chunks of a fixed number of
// rows waited for longer and longer: this load had read 120 of 400 rows after 10,000 events, and a
// load of 28,000 rows from a MariaDB did not end within two minutes.
func TestLoadWhileStreamLags(t *testing.T) {
	for name, c := range map[string]Config{
		"one range":  {Parallel: 1, ChunkRows: 10},
		"two ranges": {Parallel: 2, ChunkRows: 10},
	} {
		inRanges(t, c, tablestate.Job{}, idsFrom(0, 400), func(t *testing.T, w *world, o *Table) {
			write := func() {
				id := strconv.Itoa(w.rng.IntN(400))
				before := w.server.rows(tableO, len(w.server.log))[id]
				w.server.set(tableO, before, cellsOf(id, strconv.Itoa(len(w.server.log))))
			}
			for range 100 {
				write()
			}
			start, behind := w.position.Offset, 100
			for n := 0; !o.Job.Done && n < 1000; n++ {
				w.step()
				for range 4 { // SELECTs are faster than the stream
					w.allowQuery()
					w.step()
				}
				if write(); n%4 == 0 {
					write()
				}
				w.advance()
			}
			read := w.position.Offset - start
			if !o.Job.Done {
				t.Errorf("%s: after %d events, %d of 400 rows were loaded", name, read, o.Job.Rows)
			}
			for w.advance() {
				continue
			}
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: loaded while the stream applied %d events, %d behind at first",
				name, read, behind)
		})
	}
}
