package template_test

import (
	"bytes"
	"strconv"
	"testing"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/template"
)

// A text that a template printed matches it, and Parse returns the values again.
func FuzzMatch(f *testing.F) {
	for _, source := range []string{
		"u:{id}", "{s}", "{id}:{s}", "{n}-{s}", "{s|hex}.{n}x", "{bin|uuid|upper}", "{pk...}!",
		"{s|urlencode}%{s2|base64}", "{s|hex|upper}:{at}:{n}", "{s|lower}:{id}", "{s}{s2}", "plain",
	} {
		f.Add(source, uint32(7), int32(-5), "a:%b-", "", "2024-05-01 10:00:00", "0123456789abcdef")
	}
	f.Fuzz(func(t *testing.T, source string, id uint32, n int32, s, s2, at, bin string) {
		sc := template.Scope{Columns: columns.New(table), Key: []int{0, 2}}
		tmpl, err := sc.Parse(source)
		if err != nil || len(bin) != 16 || len(at) != 19 ||
			bytes.Trim([]byte(at), "0123456789-: ") != nil {
			t.Skip()
		}
		values := [][]byte{
			strconv.AppendUint(nil, uint64(id), 10), strconv.AppendInt(nil, int64(n), 10),
			[]byte(s), []byte(s2), []byte(at), []byte(bin),
		}
		var r binlog.Row
		r.SetText(binlog.NewTextLayout(table), values)
		text, err := tmpl.Append(nil, &r)
		if err != nil {
			t.Skip()
		}
		if !tmpl.Match(text) {
			t.Fatalf("%s: does not match its own text %q", source, text)
		}
		determined, left, _ := tmpl.Determines()
		columns, ok := tmpl.Parse(text)
		if ok != (left < 0) || ok && len(columns) != len(determined) {
			t.Fatalf("%s: parsed %q as %v, %v; it determines %v",
				source, text, columns, ok, determined)
		}
		for i, c := range columns {
			if c.Column != determined[i] || !bytes.Equal(c.Text, values[c.Column]) {
				t.Errorf("%s: column %d of %q is %q, want %q", source, c.Column, text, c.Text,
					values[c.Column])
			}
		}
	})
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		source, text string
		match        bool
	}{
		{"u:{id}", "u:12", true},
		{"u:{id}", "u:", false},
		{"u:{id}", "u:12x", false},
		{"u:{id}", "v:12", false},
		{"u:{id}:x", "u:12:x", true},
		{"u:{id}:x", "u:12:y", false},
		{"u:{id}:x", "u::x", false},
		{"u:{id}", "u:-1", false},
		{"u:{n}", "u:-1", true},
		{"u:{n}", "u:1-", false},
		{"{n}-{s}", "-5--", true},
		{"{n}-{s}", "-5", false},
		{"{id}:{s}", "1:a:b", false},
		{"{id}:{s}", "1:", true},
		{"{s|hex}", "6a", true},
		{"{s|hex}", "6A", false},
		{"{s}{id}", "abc1", true},
		{"{s}{id}", "abc", false},
		{"x", "x", true},
		{"x", "xx", false},
	} {
		if got := parse(t, c.source, false).Match([]byte(c.text)); got != c.match {
			t.Errorf("%s matches %q: %v, want %v", c.source, c.text, got, c.match)
		}
	}
}

// Match takes little time for each of many keys.
func BenchmarkMatch(b *testing.B) {
	sc := template.Scope{Columns: columns.New(table), Key: []int{0}}
	tmpl, err := sc.Parse("shop:users:{id}:{s}")
	if err != nil {
		b.Fatal(err)
	}
	text := []byte("shop:users:123456:someone@example.test")
	b.ReportAllocs()
	for b.Loop() {
		if !tmpl.Match(text) {
			b.Fatal("no match")
		}
	}
}
