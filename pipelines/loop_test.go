package pipelines

import (
	"bytes"
	"testing"

	"rowfall/binlog"
)

// The memory of a huge row is returned whatever becomes of the row: the unit of a DELETE is small.
func TestHugeRowIsRecorded(t *testing.T) {
	table := &binlog.Table{Database: "shop", Name: "t", Columns: []binlog.Column{
		{Name: "v", SQLType: "longtext", Type: binlog.TypeText, Charset: "utf8mb4"},
	}}
	row := func(size int) *binlog.Row {
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(table), [][]byte{bytes.Repeat([]byte("x"), size)})
		return r
	}
	for _, test := range []struct {
		change binlog.Change
		huge   bool
	}{
		{binlog.Change{Op: binlog.Insert, After: row(10)}, false},
		{binlog.Change{Op: binlog.Insert, After: row(hugeUnit + 1)}, true},
		{binlog.Change{Op: binlog.Update, Before: row(hugeUnit + 1), After: row(1)}, true},
		{binlog.Change{Op: binlog.Delete, Before: row(hugeUnit + 1)}, true},
	} {
		var l loop
		if l.recordSize(&test.change); l.huge != test.huge {
			t.Errorf("%v: huge is %v, want %v", test.change.Op, l.huge, test.huge)
		}
	}
}
