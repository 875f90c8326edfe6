package expression_test

import (
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// rowWith returns row() with other texts in some columns.
func rowWith(texts map[string]string) *binlog.Row {
	changed := slices.Clone(cells)
	for name, text := range texts {
		changed[table.Column(name)] = []byte(text)
	}
	r := new(binlog.Row)
	r.SetText(binlog.NewTextLayout(table), changed)
	return r
}

// old.column is the column before the change. It is nil for an insert, even if the column is NOT
// NULL.
func TestOld(t *testing.T) {
	before := rowWith(map[string]string{"s": "before", "i": "5", "ns": "x", "two words": "9"})
	for _, c := range []struct{ source, update, insert string }{
		{`old.s`, "before", "nil"},
		{`old.s == nil ? "new" : s`, "Ärger", "new"},
		{`(old.s ?? "") + s`, "beforeÄrger", "Ärger"},
		{`s + (old.s ?? "")`, "Ärgerbefore", "Ärger"},
		{`old.i != i`, "1", "1"},
		{`old.div == div`, "1", "0"},
		{`old.ns`, "x", "nil"},
		{`ns == nil and old.ns != nil`, "1", "0"},
		{`i - (old.i ?? 0)`, "-12", "-7"},
		{`old["two words"] ?? 0`, "9", "0"},
		{`OLD.s ?? ""`, "", ""}, // only old is the row before
	} {
		p, err := expression.Compile(c.source, columns.New(table), expression.AllowOld)
		if c.update == "" {
			if err == nil {
				t.Errorf("%s compiles", c.source)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		var s expression.Scratch
		for old, want := range map[*binlog.Row]string{before: c.update, nil: c.insert} {
			s.SetOld(old)
			got, null, err := p.AppendText(nil, &s, row())
			if null {
				got = []byte("nil")
			}
			if string(got) != want || err != nil || null && !p.Nullable() || !p.UsesOld() {
				t.Errorf("%s with %v: got %s, %v, want %s", c.source, old, got, err, want)
			}
		}
	}
}

func TestOldIsChecked(t *testing.T) {
	for source, message := range map[string]string{
		`old.s + "x"`:        `old.s may be NULL and + needs a value: only ==, !=`,
		`old.nope == 1`:      `no column "nope"`,
		`old == 1`:           `no column "old"`,
		`"admin" in old.csv`: "in needs a list",
		`old[0] == 1`:        "columns have no parts",
	} {
		_, err := expression.Compile(source, columns.New(table), expression.AllowOld)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %s", source, err, message)
		}
	}
	p, err := expression.Compile(`s == "x" and old.i == 1`, columns.New(table), expression.AllowOld)
	if err != nil {
		t.Fatal(err)
	}
	// A column in old counts: it must not be published if it is excluded.
	if want := []int{table.Column("i"), table.Column("s")}; !slices.Equal(p.Columns(), want) {
		t.Errorf("columns %v, want %v", p.Columns(), want)
	}
	var s expression.Scratch
	s.SetOld(row())
	s.Release(0)
	if ok, err := p.Bool(&s, rowWith(map[string]string{"s": "x"})); ok || err != nil {
		t.Errorf("after Release, old.i is %v, %v, want nil", ok, err)
	}
	if _, err := expression.Compile(`i == 1`, columns.New(table), expression.AllowOld); err != nil {
		t.Error(err)
	}
}
