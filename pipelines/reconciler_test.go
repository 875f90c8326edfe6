package pipelines

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/sink"
	"rowfall/transform"
)

func numbered(t *testing.T) *mappedTable {
	t.Helper()
	table := &binlog.Table{
		Database: "db", Name: "t", Primary: []int{0},
		Columns: []binlog.Column{{Name: "id", SQLType: "int", Type: binlog.TypeInt}},
	}
	plan, err := transform.Compile(
		&transform.Mapping{Tables: []transform.TableRule{{Pattern: "db.t"}}}, table,
	)
	if err != nil {
		t.Fatal(err)
	}
	return &mappedTable{schema: table, plan: plan}
}

// row returns the row with that id.
func (t *mappedTable) row(id int) *binlog.Row {
	r := new(binlog.Row)
	r.SetText(binlog.NewTextLayout(t.schema), [][]byte{[]byte(strconv.Itoa(id))})
	return r
}

// chunkOf returns a chunk with rows 1 to n.
func chunkOf(t *testing.T, table *mappedTable, n int) *chunk {
	t.Helper()
	c := &chunk{table: table, plan: table.plan.Clone(), limit: n, bytes: chunkBytes}
	for id := 1; id <= n; id++ {
		if err := c.add(table.row(id)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *chunk) kept() int {
	n := 0
	for key := range c.eachKey {
		if !c.dirty.contains(key) {
			n++
		}
	}
	return n
}

// One statement may change every row of a table while a chunk is read. If the chunk has been read,
// only the keys of its rows are kept; otherwise the keys overflow.
func TestDirtyKeysAreBounded(t *testing.T) {
	const changed = 1000
	defer SetDirtyKeyBytes(64 * dirtyKeyCost)()
	for _, read := range []bool{false, true} {
		c := chunkOf(t, numbered(t), 10)
		c.read.Store(read)
		for n := range changed {
			// The first is a row of the chunk, the others lie behind it.
			row := c.table.row(5 + 100*n)
			change := &binlog.Change{Op: binlog.Update, Before: row, After: row}
			if err := c.markDirty(change); err != nil {
				t.Fatal(err)
			}
			if held := len(c.dirty.seen) + len(c.dirty.clean); held > 64 {
				t.Fatalf("after %d changes %d keys are held", n+1, held)
			}
		}
		change := &binlog.Change{
			Op: binlog.Update, Before: c.table.row(1), After: c.table.row(10),
		}
		if err := c.markDirty(change); err != nil {
			t.Fatal(err)
		}
		if c.dirty.overflowed == read {
			t.Errorf("read %v: lost is %v", read, c.dirty.overflowed)
		}
		if n := c.kept(); read && n != 7 {
			t.Errorf("%d rows of 10 count as unchanged, want 7", n)
		}
	}
}

// sinkOf records the commands of units.
type sinkOf struct{ commands []byte }

func (*sinkOf) Load(context.Context) (sink.State, error) { return sink.State{}, nil }
func (*sinkOf) Capabilities() sink.Capabilities          { return sink.Capabilities{} }
func (*sinkOf) Writable() (bool, <-chan struct{})        { return true, nil }
func (*sinkOf) Held() (string, time.Time)                { return "", time.Time{} }

func (s *sinkOf) Apply(_ context.Context, u *sink.Unit) error {
	s.commands = append(s.commands, u.Commands.Bytes...)
	return nil
}

// A table that is written to all the time, with more dirty keys than fit during each SELECT, is
// loaded nevertheless, and each row is counted once.
func TestLoadProgresses(t *testing.T) {
	defer SetDirtyKeyBytes(64 * dirtyKeyCost)()
	table := numbered(t)
	taken := new(sinkOf)
	l := &loop{
		config: new(file.Config), stats: new(stats), sink: taken, stream: new(scriptedSource),
	}
	l.config.Limits.MaxAtomicBytes = 1 << 20
	r := newReconciler(l, nil, []*mappedTable{table},
		file.BackfillConfig{ChunkRows: 100, Parallel: 1}, zerolog.Nop())
	// read is what a worker does, with a stream that touches far too much, and row 20.
	read := func(ids ...int) *chunk {
		t.Helper()
		r.requestChunks(new(binlog.Position), time.Time{})
		c := <-r.requests
		for n := range 1000 {
			row := table.row(20 + 1000*n)
			change := &binlog.Change{Op: binlog.Update, Before: row, After: row}
			if err := c.markDirty(change); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids {
			if err := c.add(table.row(id)); err != nil {
				t.Fatal(err)
			}
		}
		c.result = query.ChunkResult{
			Rows: len(ids),
			Last: [][]byte{[]byte(strconv.Itoa(ids[len(ids)-1]))},
		}
		c.read.Store(true)
		return c
	}
	first := read(10, 20, 30, 40)
	if !first.dirty.overflowed {
		t.Fatal("the test loses no chunk")
	}
	r.readAgain(first)
	// Since then 30 has gone, and 35 has come.
	second := read(10, 20, 35, 40)
	if second.dirty.overflowed || string(second.until[0]) != "40" || second.limit != 4 {
		t.Fatalf("lost: %v; read until %q, at most %d rows", second.dirty.overflowed, second.until,
			second.limit)
	}
	if err := r.writeChunk(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		"10": true, "20": false, "30": false, "35": false, "40": true,
	} {
		if got := bytes.Contains(taken.commands, []byte("t:"+id+"\r")); got != want {
			t.Errorf("row %s is written: %v, want %v", id, got, want)
		}
	}
	if n := l.stats.loaded.Load(); n != 4 {
		t.Errorf("%d rows count as loaded, want 4", n)
	}
	third := read(50)
	if string(third.after[0]) != "40" || third.until != nil {
		t.Errorf("goes on after %q until %q", third.after, third.until)
	}
}

// All chunks in flight share chunkBytes.
func TestChunksShareMemory(t *testing.T) {
	defer SetChunkBytes(8000)()
	var tables []*mappedTable
	for range 8 {
		tables = append(tables, numbered(t))
	}
	r := newReconciler(nil, nil, tables, file.BackfillConfig{ChunkRows: 1000, Parallel: 8},
		zerolog.Nop())
	r.requestChunks(new(binlog.Position), time.Time{})
	total := 0
	for range 8 {
		c := <-r.requests
		var err error
		for id := 1; err == nil; id++ {
			err = c.add(c.table.row(id))
		}
		if !errors.Is(err, errChunkFull) {
			t.Fatal(err)
		}
		total += len(c.unit.Bytes) + len(c.keys)
	}
	if total > 2*8000+8*100 {
		t.Errorf("8 chunks hold %d bytes, want about 16000", total)
	}
}

// rows_per_second is reached with any number of tables and workers. The clock is what
// requestChunks returns.
func TestRowsPerSecond(t *testing.T) {
	for _, tables := range []int{1, 2, 3} {
		var waiting []*mappedTable
		for range tables {
			waiting = append(waiting, numbered(t))
		}
		r := newReconciler(nil, nil, waiting,
			file.BackfillConfig{ChunkRows: 100, Parallel: 4, RowsPerSecond: 1000}, zerolog.Nop())
		begin := time.Unix(0, 0)
		now, rows, chunks := begin, 0, 0
		for now.Sub(begin) < time.Minute {
			wait := r.requestChunks(new(binlog.Position), now)
			if n := len(r.requests); n > 1 {
				t.Fatalf("%d chunks are read at once, and the limit allows one", n)
			}
			if len(r.requests) > 0 {
				// Every other chunk has half of the rows it may have.
				c := <-r.requests
				n := c.limit >> (chunks % 2)
				rows, chunks = rows+n, chunks+1
				r.limiter.release(c.reserved - n)
				r.finishChunk(c.table, 100)
				continue
			}
			now = now.Add(wait)
		}
		if rows < 59_900 || rows > 60_200 {
			t.Errorf("%d tables: %d rows were read in a minute, want 60000", tables, rows)
		}
	}
}
