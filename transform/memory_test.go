package transform

import (
	"bytes"
	"runtime"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/race"
)

// The commands of a huge row take their memory once. Afterwards neither the plan nor Commands that
// are reset keep that memory.
func TestHugeRow(t *testing.T) {
	table := &binlog.Table{Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
		{
			Name: "id", SQLType: "varchar(10)", Type: binlog.TypeVarchar, Length: 10,
			Charset: "utf8mb4",
		},
		{Name: "v", SQLType: "longtext", Type: binlog.TypeText, Charset: "utf8mb4"},
	}}
	mapping := &Mapping{Tables: []TableRule{{
		Pattern: "shop.t",
		Columns: Columns{Add: []Addition{{"twice", "v + v"}}},
		Write: []Output{
			{Kind: Hash, Key: "t:{id}"},
			{Kind: String, Key: "s:{id}", Value: "{v}"},
			{Kind: Set, Key: "m:{id}", Member: "{v}"},
		},
	}}}
	plan, err := Compile(mapping, table)
	if err != nil {
		t.Fatal(err)
	}
	layout := binlog.NewTextLayout(table)
	const huge = 9 << 20
	value := bytes.Repeat([]byte("x"), huge)
	var before, after binlog.Row
	before.SetText(layout, [][]byte{[]byte("1"), []byte("small")})
	after.SetText(layout, [][]byte{[]byte("1"), value})
	var u Commands
	for _, c := range []*binlog.Change{
		{Table: table, Op: binlog.Insert, After: &after},
		{Table: table, Op: binlog.Update, Before: &before, After: &after},
		{Table: table, Op: binlog.Delete, Before: &after},
	} {
		for _, mode := range []Mode{FullRow, Delta} {
			if err := plan.Append(&u, c, mode, Origin{}); err != nil {
				t.Fatal(err)
			}
			if n := plan.scratch.kept(); n > 8*maxKeptScratch {
				t.Errorf("%v, %v: the plan keeps %d bytes", c.Op, mode, n)
			}
			u.Reset()
			if n := cap(u.Bytes); n > maxKeptCommands {
				t.Errorf("%v, %v: Commands keep %d bytes", c.Op, mode, n)
			}
		}
	}
	err = plan.Expect(&after, func(Expectation) error { return nil })
	if n := plan.scratch.kept(); err != nil || n > maxKeptCommands {
		t.Errorf("after Expect the plan keeps %d bytes, %v", n, err)
	}

	// With one output, little more than the bytes of its command is allocated.
	mapping.Tables[0].Columns.Add, mapping.Tables[0].Write = nil, mapping.Tables[0].Write[:1]
	if plan, err = Compile(mapping, table); err != nil {
		t.Fatal(err)
	}
	var from, to runtime.MemStats
	runtime.ReadMemStats(&from)
	insert := &binlog.Change{Table: table, Op: binlog.Insert, After: &after}
	if err := plan.Append(&u, insert, FullRow, Origin{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&to)
	most := uint64(huge + huge/8)
	if race.Enabled {
		// The compiler does not optimize append(s, make([]byte, n)...) in slices.Grow
		// then, so that growing allocates the n bytes twice.
		most += huge
	}
	if took := to.TotalAlloc - from.TotalAlloc; took > most {
		t.Errorf("%d bytes were allocated for a value of %d", took, huge)
	}
	runtime.KeepAlive(u)
}

// kept returns the bytes of all buffers.
func (s *scratch) kept() int {
	n := cap(s.oldLocation) + cap(s.newLocation) + cap(s.score) +
		cap(s.oldComputed.text) + cap(s.newComputed.text) + cap(s.commands.Bytes)
	return n + s.expression.Kept()
}
