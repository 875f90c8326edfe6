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

func (logWriter) emit(u *Commands, _ *scratch, ch *rowChange, key []byte) error {
	image := func(r *binlog.Row) string {
		if r == nil {
			return "-"
		}
		text, _ := r.AppendText(nil, 1)
		return string(text)
	}
	u.Append([]byte("RPUSH"), key, fmt.Appendf(nil, "%s %s>%s %s>%s %s load=%t replay=%t %d %s:%d",
		ch.Op, image(ch.Before), image(ch.After), image(ch.old), image(ch.new), ch.mode,
		ch.Load, ch.Replay, ch.Time, ch.Position.File, ch.Row))
	return nil
}

func registerLog(t *testing.T) {
	before := kinds
	kinds = append(slices.Clone(kinds), Kind{
		Number: logKind, Keyword: "log", RedisType: "list",
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
	row := func(v string) *binlog.Row {
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(p.Table()), [][]byte{[]byte("7"), []byte(v)})
		return r
	}
	origin := Origin{Replay: true, Time: 5, Position: &binlog.Position{File: "b.1"}, Row: 3}
	for _, c := range []struct {
		change binlog.Change
		mode   Mode
		origin Origin
		want   string
	}{
		{
			binlog.Change{Op: binlog.Update, Before: row("x"), After: row("y")},
			Delta, origin,
			"update x>y x>y delta load=false replay=true 5 b.1:3",
		},
		{
			binlog.Change{Op: binlog.Update, Before: row("x"), After: row("gone")},
			Replace, origin,
			"update x>gone x>- replace load=false replay=true 5 b.1:3",
		},
		{
			binlog.Change{Op: binlog.Insert, After: row("y")},
			FullRow,
			Origin{Load: true, Position: &binlog.Position{}},
			"insert ->y ->y full row load=true replay=false 0 :0",
		},
		{
			binlog.Change{Op: binlog.Update, Before: row("gone"), After: row("gone")},
			Delta, origin,
			"",
		},
	} {
		var u Commands
		if err := p.Append(&u, &c.change, c.mode, c.origin); err != nil {
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
