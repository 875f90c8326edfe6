package transform_test

import (
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/transform"
)

// A row of a SELECT whose values are all texts is written without decoding them. The commands are
// those of the same row in a table with a column whose value must be decoded, and is excluded.
func TestTextsAreCopied(t *testing.T) {
	const columns = "shop.t: id int unsigned pk; a varchar(2000) null; b decimal(10,2); " +
		"c datetime; e char(3) null"
	plain := parseTable(t, columns)
	mixed := parseTable(t, columns+"; f float")
	compile := func(table *binlog.Table) *transform.Plan {
		p, err := transform.Compile(parseMapping(t,
			`"*.*": {columns: {exclude: [f], rename: {b: total}}}`), table)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plans := [2]*transform.Plan{compile(plain), compile(mixed)}
	layouts := [2]*binlog.Layout{binlog.NewTextLayout(plain), binlog.NewTextLayout(mixed)}
	for _, size := range []int{-1, 0, 1, 9, 10, 11, 99, 100, 101, 1999} {
		cells := [][]byte{
			[]byte("7"), nil, []byte("12.50"), []byte("2020-01-01 12:34:56"), nil, []byte("0.5"),
		}
		if size >= 0 {
			cells[1], cells[4] = []byte(strings.Repeat("x", size)), []byte("EUR")
		}
		var u [2]transform.Commands
		for i, p := range plans {
			var r binlog.Row
			r.SetText(layouts[i], cells[:len(p.Table().Columns)])
			if isText := r.Texts() != nil; isText != (i == 0) {
				t.Fatalf("table %d: all values are texts: %v", i, isText)
			}
			c := binlog.Change{Table: p.Table(), Op: binlog.Insert, After: &r}
			if err := p.Append(&u[i], &c, transform.FullRow, transform.Origin{}); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := string(u[0].Bytes), string(u[1].Bytes); got != want {
			t.Errorf("%d bytes: commands %q, want %q", size, got, want)
		}
	}
}
