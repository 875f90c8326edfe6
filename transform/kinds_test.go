package transform

import (
	"slices"
	"testing"

	"rowfall/binlog"
)

// Each row of the registry is complete, and what its settings store can be read again.
func TestKinds(t *testing.T) {
	numbers, words := map[OutputKind]bool{}, map[string]bool{}
	for _, k := range Kinds() {
		if numbers[k.Number] || words[k.Keyword] || k.Number == 0 || k.Keyword == "" {
			t.Errorf("kind %d %q has no number or word of its own", k.Number, k.Keyword)
		}
		numbers[k.Number], words[k.Keyword] = true, true
		if k.Number.String() != k.Keyword || k.Number.RedisType() != k.RedisType {
			t.Errorf("kind %s prints as %s", k.Keyword, k.Number)
		}
		for _, s := range slices.Concat(k.Settings, CommonSettings()) {
			text := "1"
			switch s.Form {
			case Word:
				text = s.Words[len(s.Words)-1]
			case Boolean:
				text = "true"
			}
			switch s.Name {
			case "ttl":
				text = "36h"
			case "ttl_jitter":
				text = "10%"
			}
			var w Output
			if got := s.Get(&w); got != "" {
				t.Errorf("%s.%s: an empty output has %q", k.Keyword, s.Name, got)
			}
			if err := s.Set(&w, text); err != nil || s.Get(&w) != text {
				t.Errorf("%s.%s: %q was stored as %q, %v", k.Keyword, s.Name, text, s.Get(&w), err)
			}
		}
	}
	if OutputKind(0).String() != "" || OutputKind(255).RedisType() != "" {
		t.Error("an unknown kind has a name")
	}
}

// referenceWriter writes a row as a member of a set that other rows may yield, too: with deferred
// commands.
type referenceWriter struct {
	setWriter
	key []int
}

func (w referenceWriter) refer(u *Commands, r *binlog.Row, at location, begins bool) error {
	row, err := appendRowKey(nil, w.key, r)
	u.Defer(&Deferred{Kind: 1, Begins: begins, Key: at.key, Member: at.member, Row: row})
	return err
}

func (w referenceWriter) put(
	u *Commands, _ *scratch, ch *rowChange, at location, _ bool,
) (isWritten bool, err error) {
	return true, w.refer(u, ch.new, at, true)
}

func (w referenceWriter) remove(u *Commands, _ *scratch, r *binlog.Row, at location) {
	_ = w.refer(u, r, at, false)
}

// A writer may defer its commands. It sees the row that leaves a location, and what the sink must
// hold in the end is compared like the member of another set.
func TestDeferringWriter(t *testing.T) {
	before := kinds
	kinds = append(slices.Clone(kinds), Kind{
		Number: 201, Keyword: "reference", RedisType: "set",
		Settings: []Setting{textSetting("member", Template, true, memberOf)},
		compile: func(c *compiler, w *Output, o *output) error {
			err := compileSet(c, w, o)
			o.writer = referenceWriter{key: c.plan.key}
			return err
		},
	})
	t.Cleanup(func() { kinds = before })
	table := &binlog.Table{Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int", Type: binlog.TypeInt},
		{Name: "v", SQLType: "varchar(9)", Type: binlog.TypeVarchar, Charset: "utf8mb4"},
	}}
	p, err := Compile(&Mapping{Tables: []TableRule{{
		Pattern: "shop.t", Write: []Output{{Kind: 201, Key: "s:{v}", Member: "{id}"}},
	}}}, table)
	if err != nil {
		t.Fatal(err)
	}
	row := func(v string) *binlog.Row {
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(table), [][]byte{[]byte("7"), []byte(v)})
		return r
	}
	change := &binlog.Change{Op: binlog.Update, Before: row("a"), After: row("b")}
	for _, mode := range []Mode{FullRow, Delta, Replace} {
		var u Commands
		if err := p.Append(&u, change, mode, Origin{}); err != nil {
			t.Fatal(err)
		}
		last := u.at(len(u.deferred) - 1)
		first := u.at(0)
		if first.Begins || string(first.Key) != "s:a" || !last.Begins ||
			string(last.Key) != "s:b" || string(last.Member) != "7" {
			t.Errorf("%s: deferred commands %+v and %+v", mode, first, last)
		}
	}
	n := 0
	err = p.Expect(row("a"), func(e Expectation) error {
		if n++; string(e.Key) != "s:a" || string(e.Member) != "7" {
			t.Errorf("expected is %+v", e)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d expectations, %v", n, err)
	}
}
