package jobs

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/replication/resp"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// numbered returns a world with n tables of one column, their key, and the tables in their order.
func numbered(t *testing.T, config Config, n int) (*world, []*Table) {
	t.Helper()
	w := newWorld(t, 1, config)
	var tables []*Table
	for i := range n {
		schema := &binlog.Table{
			Database: "db", Name: "t" + strconv.Itoa(i), Primary: []int{0},
			Columns: []binlog.Column{{Name: "id", SQLType: "int", Type: binlog.TypeInt}},
		}
		w.plans[schema] = compile(t, `"db.*": {}`, schema)
	}
	w.start()
	w.engine.sweepLocations = sweepLocations
	for i := range n {
		tables = append(tables, w.tables["t"+strconv.Itoa(i)])
	}
	return w, tables
}

// numberedRow returns the row with an id.
func numberedRow(t *Table, id int) *binlog.Row {
	return row(t.Schema, cellsOf(strconv.Itoa(id)))
}

// touch returns an update that leaves the row with an id as it is.
func touch(t *Table, id int) *binlog.Change {
	r := numberedRow(t, id)
	return &binlog.Change{Op: binlog.Update, Before: r, After: r}
}

// One statement may change every row of a table while a chunk is read. If the chunk has been read,
// only the keys of its rows are kept; otherwise the keys overflow.
func TestDirtyKeysAreBounded(t *testing.T) {
	const changed, most = 1000, 64
	for _, isRead := range []bool{false, true} {
		_, tables := numbered(t, Config{Parallel: 1, ChunkRows: 10}, 1)
		table := tables[0]
		c := &chunk{
			taskBase: taskBase{table: table}, rowBuffer: rowBuffer{plan: table.Plan.Clone()},
			limit: 10, bytes: 1 << 20,
			dirtyBytes: most * dirtyKeyCost,
		}
		for id := 1; id <= 10; id++ {
			if err := c.Add(numberedRow(table, id)); err != nil {
				t.Fatal(err)
			}
		}
		c.done.Store(isRead)
		for n := range changed {
			// The first is a row of the chunk, the others lie behind it.
			if err := c.markDirty(touch(table, 5+100*n)); err != nil {
				t.Fatal(err)
			}
			if held := len(c.dirty.seen) + len(c.dirty.clean); held > most {
				t.Fatalf("after %d changes %d keys are held", n+1, held)
			}
		}
		moved := &binlog.Change{
			Op: binlog.Update, Before: numberedRow(table, 1), After: numberedRow(table, 10),
		}
		if err := c.markDirty(moved); err != nil {
			t.Fatal(err)
		}
		if c.dirty.overflowed == isRead {
			t.Errorf("read %v: overflowed is %v", isRead, c.dirty.overflowed)
		}
		clean := 0
		for key := range c.eachKey {
			if !c.dirty.contains(key) {
				clean++
			}
		}
		if isRead && clean != 7 {
			t.Errorf("%d rows of 10 count as unchanged, want 7", clean)
		}
	}
}

// A table that is written to all the time, with more dirty keys than fit during each SELECT, is
// loaded nevertheless, and each row is counted once.
func TestLoadProgresses(t *testing.T) {
	config := Config{Parallel: 1, ChunkRows: 100, DirtyKeyBytes: 64 * dirtyKeyCost}
	w, tables := numbered(t, config, 1)
	table, e := tables[0], w.engine
	// read is what a worker does while the stream changes far too much, and row 20.
	read := func(ids ...int) *chunk {
		t.Helper()
		if _, err := e.request(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		c := (<-e.requests).(*chunk)
		for n := range 1000 {
			if err := table.MarkDirty(touch(table, 20+1000*n)); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids {
			if err := c.Add(numberedRow(table, id)); err != nil {
				t.Fatal(err)
			}
		}
		c.result = query.ChunkResult{
			Rows: len(ids), Last: cellsOf(strconv.Itoa(ids[len(ids)-1])), Fence: at(0),
		}
		c.done.Store(true)
		e.results <- c
		return c
	}
	handle := func() {
		t.Helper()
		if err := e.receive(); err != nil {
			t.Fatal(err)
		}
		if err := e.applyPassed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if first := read(10, 20, 30, 40); !first.dirty.overflowed {
		t.Fatal("the dirty keys of the first chunk do not overflow")
	}
	handle()
	// Since then 30 has gone, and 35 has come.
	second := read(10, 20, 35, 40)
	if second.dirty.overflowed || string(second.until[0]) != "40" || second.limit != 4 {
		t.Fatalf("overflowed: %v; read until %q, at most %d rows", second.dirty.overflowed,
			second.until, second.limit)
	}
	handle()
	var written []byte
	for _, u := range w.sink.Units(0) {
		written = append(written, u.Commands...)
	}
	for id, want := range map[string]bool{
		"10": true, "20": false, "30": false, "35": false, "40": true,
	} {
		if got := bytes.Contains(written, []byte("t0:"+id+"\r")); got != want {
			t.Errorf("row %s is written: %v, want %v", id, got, want)
		}
	}
	if e.rows != 4 || table.Job.Rows != 4 {
		t.Errorf("%d and %d rows count as read, want 4", e.rows, table.Job.Rows)
	}
	third := read(50)
	if string(third.after[0]) != "40" || third.until != nil {
		t.Errorf("continues after %q until %q", third.after, third.until)
	}
}

// The rows of a chunk that are added to a list are written in one unit, together with the key of
// the last of them. In a second unit, a crash before it would add the rows of the first unit twice.
// A job that compares adds nothing.
func TestLoadIntoList(t *testing.T) {
	for _, compares := range []bool{false, true} {
		w, tables := numbered(t, Config{Parallel: 1, ChunkRows: 10 * unitRows}, 1)
		table, e := tables[0], w.engine
		table.Plan = compile(t, `"db.*": {write: [{list: l, value: "{id}", snapshot: true}]}`,
			table.Schema)
		table.Job = tablestate.Job{Compare: compares}
		whole := table.openRanges()[0]
		whole.nextRows = 10 * unitRows
		c := e.nextChunk(table, whole)
		c.table = table
		if (c.limit == unitRows) == compares {
			t.Errorf("the chunk has at most %d rows", c.limit)
		}
		const rows = 400
		for id := range rows {
			if err := c.Add(numberedRow(table, id)); err != nil {
				t.Fatal(err)
			}
		}
		c.result = query.ChunkResult{Rows: rows, Last: cellsOf(strconv.Itoa(rows - 1))}
		before := len(w.sink.Units(0))
		if err := c.apply(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		var added []int
		for _, u := range w.sink.Units(before) {
			if n := strings.Count(u.Commands, "RPUSH"); n > 0 {
				added = append(added, n)
			}
		}
		if want := []int{rows}; compares && len(added) > 0 ||
			!compares && !slices.Equal(added, want) {
			t.Errorf("compares: %v: the units add %d values, want %d", compares, added, want)
		}
	}
}

// All chunks share Config.ChunkBytes, those that are read and as many that are applied.
func TestChunksShareMemory(t *testing.T) {
	const most = 8000
	w, _ := numbered(t, Config{Parallel: 8, ChunkRows: 1000, ChunkBytes: most}, 8)
	if _, err := w.engine.request(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	total := 0
	for range 8 {
		c := (<-w.engine.requests).(*chunk)
		var err error
		for id := 1; err == nil; id++ {
			err = c.Add(numberedRow(c.table, id))
		}
		if !errors.Is(err, errChunkFull) {
			t.Fatal(err)
		}
		total += c.size()
	}
	if total > most+8*100 {
		t.Errorf("8 chunks hold %d bytes, want about %d", total, most)
	}
}

// rows_per_second is reached with any number of tables and workers. The clock is what request
// returns.
func TestRowsPerSecond(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		w, _ := numbered(t, Config{Parallel: 4, ChunkRows: 100, RowsPerSecond: 1000}, n)
		e := w.engine
		begin := time.Unix(0, 0)
		now, rows, chunks := begin, 0, 0
		for now.Sub(begin) < time.Minute {
			wait, err := e.request(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(e.requests); n > 1 {
				t.Fatalf("%d chunks are read at once, and the limit allows one", n)
			}
			if len(e.requests) > 0 {
				// Every other chunk has half of the rows it may have.
				c := (<-e.requests).(*chunk)
				n := c.limit >> (chunks % 2)
				rows, chunks = rows+n, chunks+1
				e.limiter.release(c.reserved - n)
				c.of.nextRows = 100
				e.finish(&c.taskBase)
				continue
			}
			now = now.Add(wait)
		}
		if rows < 59_900 || rows > 60_200 {
			t.Errorf("%d tables: %d rows were read in a minute, want 60000", n, rows)
		}
	}
}

// A key of another type that no former definition explains stays, and the table has a fault that
// names the key.
func TestKeyOfAnotherTypeStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := compile(t, `
db.o:
  write:
    - set: by:{x}
      member: "{id}"`, tableO)
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10}, plan)
		w.keepsOtherTypes = true
		w.execute("SET", "by:1", "x")
		w.server.set(tableO, nil, cellsOf("1", "1"))
		w.storedPosition = at(1)
		w.stored["o"] = record{Job: tablestate.Job{Compare: true}}
		w.start()
		w.run()
		want := sinktest.NewMemory("shop")
		if err := want.Execute(resp.AppendCommand(nil, "SET", "by:1", "x")); err != nil {
			t.Fatal(err)
		}
		w.mustHold(want)
		if fault := w.tables["o"].Fault; fault == nil || !strings.Contains(fault.Reason, `"by:1"`) {
			t.Errorf("the fault is %+v", fault)
		}
	})
}

// Two rows may be members of one key, which has another type before. Both are in the key after the
// chunk.
func TestMembersOfAKeyOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := compile(t, `
db.o:
  write:
    - set: by:{x}
      member: "{id}"`, tableO)
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10}, plan)
		w.execute("SET", "by:1", "x")
		rows := [][][]byte{cellsOf("1", "1"), cellsOf("2", "1"), cellsOf("3", "2")}
		for _, cells := range rows {
			w.server.set(tableO, nil, cells)
		}
		w.storedPosition = at(3)
		w.stored["o"] = record{Job: tablestate.Job{Compare: true}}
		w.start()
		w.run()
		want := sinktest.NewMemory("shop")
		insert(t, want, plan, rows...)
		w.mustHold(want)
	})
}

// The clean rows of a chunk are written once, in their order, in units of at most unitRows rows.
// Dirty rows, large rows and the early units of the world lie between them.
func TestUnitsOfAChunk(t *testing.T) {
	for _, dirtyOf := range []func(id int) bool{
		func(int) bool { return false },
		func(int) bool { return true },
		func(id int) bool { return id%7 == 0 },
		func(id int) bool { return id < 600 || id > 1290 },
	} {
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 2000})
		w.plans[tablePeople] = compile(t, `"census.*": {}`, tablePeople)
		w.start()
		table, e := w.tables["people"], w.engine
		c := e.nextChunk(table, table.openRanges()[0])
		c.table = table
		var want []string
		for id := range 1300 {
			cells := person(id)
			if id%100 == 50 {
				cells[1] = bytes.Repeat([]byte{'x'}, 2*pieceBytes)
			}
			r := row(tablePeople, cells)
			if err := c.Add(r); err != nil {
				t.Fatal(err)
			}
			if !dirtyOf(id) {
				want = append(want, "people:"+strconv.Itoa(id))
				continue
			}
			change := &binlog.Change{Op: binlog.Update, Before: r, After: r}
			if err := c.markDirty(change); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.write(t.Context(), e, table, &c.dirty); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range w.sink.Units(0) {
			n := len(got)
			for b := []byte(u.Commands); len(b) > 0; {
				args, size, err := resp.ParseCommand(b, nil)
				if err != nil {
					t.Fatal(err)
				}
				if b = b[size:]; string(args[0]) == "HSET" {
					got = append(got, string(args[1]))
				}
			}
			if len(got)-n > unitRows {
				t.Errorf("a unit has %d rows", len(got)-n)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d rows were written, want %d", len(got), len(want))
		}
	}
}

// The deferred commands of a row move with the row's other commands from the chunk into the unit.
func TestChunkMovesDeferredCommands(t *testing.T) {
	w, _ := numbered(t, Config{}, 1)
	var c chunk
	marks := []transform.Mark{{}}
	for _, row := range []string{"1", "2", "3"} {
		c.unit.Defer(&transform.Deferred{Key: []byte("before " + row)})
		c.unit.Append([]byte("SET"), []byte(row))
		c.unit.Defer(&transform.Deferred{Key: []byte("after " + row)})
		marks = append(marks, c.unit.Mark())
	}
	for i, row := range marks[:3] {
		if i == 1 {
			continue // the row is dirty
		}
		if err := c.writeRows(t.Context(), w.engine, row, marks[i+1], i == 2); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	u := w.Commands()
	err := u.Resolve(func(d *transform.Deferred, out *transform.Commands) error {
		out.Append([]byte("SET"), d.Key)
		return nil
	})
	for b := u.Bytes; err == nil && len(b) > 0; {
		var args [][]byte
		var n int
		args, n, err = resp.ParseCommand(b, nil)
		got, b = append(got, string(args[1])), b[n:]
	}
	want := "before 1, 1, after 1, before 3, 3, after 3"
	if err != nil || strings.Join(got, ", ") != want {
		t.Errorf("the unit has %q, want %s; %v", got, want, err)
	}
}
