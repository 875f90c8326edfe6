package transform

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// logKind is a kind that acts once for each change. Only this test has it.
const logKind OutputKind = 200

// logWriter appends a line with everything that it is told of a change.
type logWriter struct{}

func (logWriter) emit(
	u *Commands, _ *scratch, ch *rowChange, op binlog.Op, row *binlog.Row, key []byte,
) error {
	image := func(r *binlog.Row) string {
		if r == nil {
			return "-"
		}
		text, _ := r.AppendText(nil, 1)
		return string(text)
	}
	u.Append([]byte("RPUSH"), key, fmt.Appendf(nil,
		"%s %s>%s as %s %s>%s of %s, %s load=%t %d %s:%d",
		ch.Op, image(ch.Before), image(ch.After), op, image(ch.accepted), image(ch.new), image(row),
		ch.mode, ch.Load, ch.Time, ch.Position.File, ch.Row))
	return nil
}

func registerLog(t *testing.T) {
	before := kinds
	kinds = append(slices.Clone(kinds), Kind{
		Number: logKind, Keyword: "log", RedisType: "list", Settings: []Setting{snapshotSetting},
		compile: func(_ *compiler, _ *Output, o *output) error {
			o.emitter = logWriter{}
			return nil
		},
	})
	t.Cleanup(func() { kinds = before })
}

// A kind that acts once for each change sees the whole change. It may write several tables to one
// key, and it takes no part in what compares or removes rows.
func TestEmitter(t *testing.T) {
	registerLog(t)
	table := func(name string) *binlog.Table {
		return &binlog.Table{
			Database: "shop", Name: name, Primary: []int{0}, Columns: []binlog.Column{
				{Name: "id", SQLType: "int", Type: binlog.TypeInt},
				{Name: "v", SQLType: "varchar(9)", Type: binlog.TypeVarchar, Charset: "utf8mb4"},
			},
		}
	}
	mapping := &Mapping{Tables: []TableRule{{
		Pattern: "shop.*", Where: `v != "gone"`, Write: []Output{
			{Kind: logKind, Key: "log"}, {Kind: Set, Key: "{table}", Member: "{id}"},
		},
	}}}
	if faults := mapping.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	var plans []*Plan
	for _, name := range []string{"a", "b"} {
		mapping.Tables[0].Write[0].Snapshot = name == "b"
		p, err := Compile(mapping, table(name))
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	if err := Conflicts(plans); err != nil {
		t.Error(err)
	}
	p := plans[0]
	if p.HoldsRows(0) || !p.HoldsRows(1) || p.OwnsKey(0, []byte("log")) ||
		!p.IsLocatedBy(0, nil) || len(p.LocationColumns()[0]) > 0 {
		t.Error("keys belong to the output")
	}
	if p.ActsOnLoad() || !plans[1].ActsOnLoad() || !p.MayWrite(0, []byte("log")) {
		t.Error("what the plans write is not what the mapping has")
	}
	row := func(v string) *binlog.Row {
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(p.Table()), [][]byte{[]byte("7"), []byte(v)})
		return r
	}
	origin := Origin{Time: 5, Position: &binlog.Position{File: "b.1"}, Row: 3}
	replay := origin
	replay.Replay = true
	update := func(before, after string) binlog.Change {
		return binlog.Change{Op: binlog.Update, Before: row(before), After: row(after)}
	}
	load := binlog.Change{Op: binlog.Insert, After: row("y")}
	for _, c := range []struct {
		plan   int
		change binlog.Change
		mode   Mode
		origin Origin
		want   string
	}{
		{
			0, update("x", "y"), Delta, origin,
			"update x>y as update x>y of y, delta load=false 5 b.1:3",
		},
		{
			0, update("x", "gone"), Replace, origin,
			"update x>gone as delete x>- of x, replace load=false 5 b.1:3",
		},
		{
			0, update("gone", "y"), FullRow, origin,
			"update gone>y as insert ->y of y, full row load=false 5 b.1:3",
		},
		{0, update("gone", "gone"), Delta, origin, ""},
		{0, update("x", "y"), FullRow, replay, ""},
		{0, load, FullRow, Origin{Load: true, Position: &binlog.Position{}}, ""},
		{
			1, load, FullRow,
			Origin{Load: true, Position: &binlog.Position{}},
			"insert ->y as insert ->y of y, full row load=true 0 :0",
		},
	} {
		var u Commands
		if err := plans[c.plan].Append(&u, &c.change, c.mode, c.origin); err != nil {
			t.Fatal(err)
		}
		if got := string(u.Bytes); strings.Contains(got, "RPUSH") != (c.want != "") ||
			!strings.Contains(got, c.want) {
			t.Errorf("commands %q, want %q", got, c.want)
		}
	}
	var outputs []int
	err := p.Expect(row("y"), func(e Expectation) error {
		outputs = append(outputs, e.Output)
		return nil
	})
	if err == nil {
		err = p.Locations(row("y"), func(at Location) { outputs = append(outputs, at.Output) })
	}
	if err != nil || !slices.Equal(outputs, []int{1, 1}) {
		t.Errorf("outputs %v are compared, want only the set; %v", outputs, err)
	}
}
