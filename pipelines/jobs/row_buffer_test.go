package jobs

import (
	"strconv"
	"testing"

	"rowfall/binlog"
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
