package jobs

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
)

// A load ends although the source writes faster than the stream applies. Each chunk waits until the
// stream has passed the end of the binlog at the time of its SELECT. Chunks of a fixed number of
// rows waited for longer and longer: this load had read 50 of 400 rows after 1,000 events, and a
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

// A chunk that waits is extended only when the limiter and the throttle allow a SELECT.
func TestExtensionKeepsLimits(t *testing.T) {
	for _, isThrottled := range []bool{false, true} {
		var throttle testThrottle
		c := Config{Parallel: 1, ChunkRows: 10}
		if isThrottled {
			c.Throttle = &throttle
		} else {
			c.RowsPerSecond = 10
		}
		inRanges(t, c, tablestate.Job{}, idsFrom(0, 400), func(t *testing.T, w *world, o *Table) {
			w.server.set(tableO, cellsOf("1", "1"), cellsOf("1", "2"))
			w.step()
			w.allowQuery() // the first SELECT
			for range 3 {
				throttle.paused.Store(true)
				w.step()
				if w.allowQuery() {
					t.Error("a SELECT begins although the limiter or the throttle forbids it")
				}
				throttle.paused.Store(false)
				if !isThrottled {
					time.Sleep(time.Second)
				}
				w.step()
				if !w.allowQuery() {
					t.Fatal("the chunk is not extended")
				}
			}
			w.step()
			if c, ok := o.tasks[0].(*chunk); !ok || c.limit != 10 || !c.isExtended() {
				t.Errorf("the task is %+v", o.tasks[0])
			}
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for w.advance() {
				continue
			}
		})
	}
}

// oneSelect is a RowReader that returns rows with some ids, and a fence.
type oneSelect struct {
	RowReader
	ids   []int
	value string
	fence binlog.Position
}

func (s *oneSelect) ReadRows(
	_ context.Context, request query.ChunkRequest, _ binlog.Position, to Collector,
) (query.ChunkResult, error) {
	to.Reset()
	result := query.ChunkResult{Fence: s.fence}
	for _, id := range s.ids {
		cells := cellsOf(strconv.Itoa(id), s.value)
		if err := to.Add(row(request.Table, cells)); err != nil {
			return query.ChunkResult{}, err
		}
		result.Rows++
		result.Last = cells[:1]
	}
	return result, nil
}

// An extension that does not fit, or whose fence is not after the fence of the chunk, leaves the
// chunk as it was. Another replica may be at an earlier position.
func TestExtensionIsUndone(t *testing.T) {
	gtids := func(text string) binlog.Position {
		p, err := binlog.ParsePosition("gtid:" + text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, later := gtids("0-1-7"), gtids("0-1-8")
	for name, s := range map[string]oneSelect{
		"extended":           {ids: idsFrom(4, 3), value: "1", fence: later},
		"of another replica": {ids: idsFrom(4, 3), value: "1", fence: gtids("0-1-6")},
		"of the source":      {ids: idsFrom(4, 3), value: "1", fence: at(9)},
		"too large":          {ids: idsFrom(4, 3), value: strings.Repeat("1", 9000), fence: later},
	} {
		inRanges(t, Config{Parallel: 1, ChunkRows: 3, ChunkBytes: 2000}, tablestate.Job{}, nil,
			func(t *testing.T, w *world, o *Table) {
				c := w.engine.nextChunk(o, o.openRanges()[0])
				c.table = o
				begin := oneSelect{ids: idsFrom(1, 3), value: "1", fence: first}
				if err := c.run(t.Context(), &begin); err != nil {
					t.Fatal(err)
				}
				c.received(w.config.ChunkRows)
				if !w.engine.canExtend(c) {
					t.Fatal("the chunk cannot be extended")
				}
				w.engine.extend(c)
				if err := c.run(t.Context(), &s); err != nil {
					t.Fatal(err)
				}
				rows, fence, last := 3, first, "3"
				if name == "extended" {
					rows, fence, last = 6, later, "6"
				}
				n := 0
				for key := range c.eachKey {
					if n++; !strings.Contains(string(key), strconv.Itoa(n)) {
						t.Errorf("%s: key %d is %q", name, n, key)
					}
				}
				if n != rows || c.fence.String() != fence.String() ||
					string(c.result.Last[0]) != last || c.isFull != (rows == 3) {
					t.Errorf("%s: %d rows up to %s, fence %s", name, n, c.result.Last, c.fence)
				}
				o.ranges = nil
			})
	}
}
