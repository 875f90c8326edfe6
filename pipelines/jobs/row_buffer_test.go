package jobs

import (
	"strconv"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/sink/sinktest"
)

// tablePeople is a table of eight columns, like that of the benchmark of initial loads.
var tablePeople = &binlog.Table{
	Database: "census", Name: "people", Primary: []int{0},
	Columns: []binlog.Column{
		{Name: "id", SQLType: "bigint", Type: binlog.TypeBigInt},
		{Name: "name", SQLType: "varchar(60)", Type: binlog.TypeVarchar, Length: 60},
		{Name: "email", SQLType: "varchar(80)", Type: binlog.TypeVarchar, Length: 80},
		{Name: "city", SQLType: "varchar(40)", Type: binlog.TypeVarchar, Length: 40},
		{Name: "country", SQLType: "char(2)", Type: binlog.TypeChar, Length: 2},
		{
			Name: "balance", SQLType: "decimal(12,2)", Type: binlog.TypeDecimal, Length: 12,
			Decimals: 2,
		},
		{Name: "visits", SQLType: "int", Type: binlog.TypeInt},
		{Name: "joined", SQLType: "datetime", Type: binlog.TypeDatetime},
	},
}

// person returns the cells of a row of tablePeople.
func person(id int) [][]byte {
	n := strconv.Itoa(id)
	return cellsOf(n, "Person "+n, "person"+n+"@example.com", "São Paulo", "BR", "4711.08",
		"815", "2020-01-01 12:34:56")
}

// peopleChunk returns an empty chunk of tablePeople, and a row for it.
func peopleChunk(tb testing.TB) (*chunk, *binlog.Row) {
	plan := compile(tb, `"census.*": {}`, tablePeople)
	c := &chunk{rowBuffer: rowBuffer{plan: plan}, limit: 10_000, bytes: 16 << 20}
	return c, row(tablePeople, person(123_456))
}

// Adding a row to a chunk whose buffers an earlier chunk has filled does not allocate.
func TestAddRowDoesNotAllocate(t *testing.T) {
	c, r := peopleChunk(t)
	add := func() {
		if err := c.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		add()
	}
	c.reset()
	if n := testing.AllocsPerRun(100, add); n > 0 {
		t.Errorf("%v allocations for each row", n)
	}
}

// The next chunk fills the buffers of an applied one. It does not change the rows that the applied
// chunk has put into the unit. The engine keeps few buffers, and none that is larger than a chunk.
func TestBuffersAreReused(t *testing.T) {
	w := newWorld(t, 1, Config{Parallel: 2, ChunkRows: 100, ChunkBytes: 100_000})
	w.plans[tablePeople] = compile(t, `"census.*": {}`, tablePeople)
	w.start()
	table, e := w.tables["people"], w.engine
	read := func(name string) *chunk {
		c := e.nextChunk(table, table.openRanges()[0])
		c.table = table
		for id := range 10 {
			cells := person(id)
			cells[1] = []byte(name)
			if err := c.Add(row(tablePeople, cells)); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	first := read("first")
	if err := first.write(t.Context(), e, table, &first.dirty); err != nil {
		t.Fatal(err)
	}
	buffer := &first.unit.Bytes[0]
	e.keepBuffers(first)
	second := read("other")
	if &second.unit.Bytes[0] != buffer || len(e.buffers) != 0 {
		t.Error("the second chunk does not have the buffers of the first")
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := sinktest.NewMemory("shop")
	for id := range 10 {
		cells := person(id)
		cells[1] = []byte("first")
		insert(t, want, w.plans[tablePeople], cells)
	}
	w.mustHold(want)

	third, fourth, huge := read("a"), read("b"), read("c")
	huge.reset()
	cells := person(1)
	cells[1] = []byte(strings.Repeat("x", 400_000))
	if err := huge.Add(row(tablePeople, cells)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*chunk{huge, second, third, fourth} {
		e.keepBuffers(c)
	}
	if len(e.buffers) != 2 || cap(e.buffers[0].unit) > 200_000 {
		t.Errorf("the engine keeps %d buffers, the first of %d bytes", len(e.buffers),
			cap(e.buffers[0].unit))
	}
}

// A row of a SELECT becomes commands in a chunk whose buffers an earlier chunk has filled.
func BenchmarkAddRow(b *testing.B) {
	c, r := peopleChunk(b)
	for range c.limit {
		if err := c.Add(r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(c.read) == c.limit {
			c.reset()
		}
		if err := c.Add(r); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(c.size() / len(c.read)))
}
