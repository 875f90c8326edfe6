package transform

import (
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
)

// A value that is longer than Redis accepts is handled as too_long says, although its column has no
// max_bytes. The limit is lowered for the test.
func TestValueBeyondRedis(t *testing.T) {
	maxBulk = 16
	t.Cleanup(func() { maxBulk = MaxValueBytes })
	table := &binlog.Table{Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int", Type: binlog.TypeInt},
		{Name: "v", SQLType: "longtext", Type: binlog.TypeText, Charset: "utf8mb4"},
	}}
	layout := binlog.NewTextLayout(table)
	for _, test := range []struct {
		tooLong OnTooLong
		want    OnError
	}{
		{QuarantineTooLong, Quarantine},
		{TruncateTooLong, Quarantine},
		{OmitTooLong, Quarantine},
		{DeadLetterTooLong, DeadLetter},
		{StopTooLong, StopAtError},
	} {
		plan, err := Compile(&Mapping{Tables: []TableRule{{
			Pattern: "shop.t", OnError: StopAtError,
			Columns: Columns{TooLong: test.tooLong},
			Write:   []Output{{Kind: Hash, Key: "t:{id}"}},
		}}}, table)
		if err != nil {
			t.Fatal(err)
		}
		for size, isTooLong := range map[int]bool{maxBulk: false, maxBulk + 1: true} {
			var row binlog.Row
			row.SetText(layout, [][]byte{[]byte("1"), []byte(strings.Repeat("x", size))})
			var u Commands
			err := plan.Append(&u, &binlog.Change{Table: table, Op: binlog.Insert, After: &row},
				FullRow, Origin{})
			fault := new(RowError)
			if errors.As(err, &fault) != isTooLong {
				t.Errorf("%d bytes: %v", size, err)
			}
			if isTooLong && (fault.OnError != test.want || fault.Column != "v") {
				t.Errorf("too_long %d: the reaction is %d to %v", test.tooLong, fault.OnError, err)
			}
		}
	}
}
