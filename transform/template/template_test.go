package template_test

import (
	"fmt"
	"testing"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/template"
)

var table = &binlog.Table{Database: "shop", Name: "t", Columns: []binlog.Column{
	{Name: "id", Type: binlog.TypeInt, Unsigned: true},
	{Name: "n", Type: binlog.TypeInt},
	{Name: "s", Type: binlog.TypeVarchar},
	{Name: "s2", Type: binlog.TypeVarchar},
	{Name: "at", Type: binlog.TypeDatetime},
	{Name: "bin", Type: binlog.TypeBinary, Length: 16},
}}

func parse(t *testing.T, source string, value bool) *template.Template {
	t.Helper()
	sc := template.Scope{Columns: columns.New(table), Key: []int{0, 2}, Value: value}
	out, err := sc.Parse(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return out
}

func TestAppend(t *testing.T) {
	var r binlog.Row
	r.SetText(binlog.NewTextLayout(table), [][]byte{
		[]byte("7"), []byte("-1"), []byte("a:%b"), nil,
		[]byte("2024-05-01 10:00:00"), []byte("0123456789abcdef"),
	})
	for _, c := range []struct {
		source string
		value  bool
		want   string
	}{
		{"{s}", false, "a:%b"},
		{"x{s}", false, "xa:%b"},
		{"{id}:{s}", false, "7:a%3A%25b"},
		{"{pk...}", false, "7:a%3A%25b"},
		{"{id}:{s}", true, "7:a:%b"},
		{"{at}", false, "2024-05-01 10:00:00"},
		{"{id}:{at}", false, "7:2024-05-01 10%3A00%3A00"},
		{"{id}:{s|urlencode}", false, "7:a%3A%25b"},
		{"{pk...|hex}", false, "37:613a2562"},
		{"[{s2}]", true, "[]"},
		{"{ s | upper }", false, "A:%B"},
		{"{{{id}}}", false, "{7}"},
		{"{S}{database}.{table}", false, "a:%bshop.t"},
		{"{bin|uuid}", false, "30313233-3435-3637-3839-616263646566"},
		{"{bin|base64|lower}", false, "mdeymzq1njc4owfiy2rlzg=="},
		{"", false, ""},
		{"plain", false, "plain"},
	} {
		got, err := parse(t, c.source, c.value).Append(nil, &r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.source, got, err, c.want)
		}
	}
}

func TestDetermines(t *testing.T) {
	for _, c := range []struct {
		source, columns string
		left, right     int
	}{
		{"a:{id}", "[0]", -1, -1},
		{"{s}", "[2]", -1, -1},
		{"{s}:{id}", "[2 0]", -1, -1},
		{"{s}{id}", "[]", 2, 0},
		{"{id}{s}", "[]", 0, 2},
		{"{id}-{s}", "[0 2]", -1, -1},
		{"{n}-{s}", "[1 2]", -1, -1},
		{"{s}-{n}", "[]", 2, 1},
		{"{id}x{n}", "[0 1]", -1, -1},
		{"{at} {id}", "[]", 4, 0},
		{"{at}:{id}", "[4 0]", -1, -1},
		{"{s|lower}", "[]", -1, -1},
		{"{id|lower}", "[0]", -1, -1},
		{"{s|lower}:{id}", "[0]", -1, -1},
		{"{s|hex|upper}.{id}", "[2 0]", -1, -1},
		{"{s|hex}-{s2|base64}", "[2 3]", -1, -1},
		{"{s|urlencode}-{id}", "[]", 2, 0},
	} {
		columns, left, right := parse(t, c.source, false).Determines()
		if fmt.Sprint(columns) != c.columns || left != c.left || right != c.right {
			t.Errorf("%s: got %v, %d and %d", c.source, columns, left, right)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"a:{id}", "a:{n}", true},
		{"a:{id}", "a:x", false},
		{"a:{id}", "a:12", true},
		{"a:{id}", "a:", false},
		{"a:{s}", "a:", true},
		{"a:{s}", "a:b:{id}", true},
		{"a:{id}:{s}", "a:b:{id}", false},
		{"{s}", "anything", true},
		{"{s}:x", "{s}:y", false},
		{"{s}x", "y{s}", true},
		{"users:{id}", "user:{id}", false},
		{"{id}:{s}", "{s}:{id}", true},
		{"{s}:{id}:{id}", "{id}:{id}", false},
		{"{s}", "ä{id}", true},
		{"x{bin|uuid}", "x12-{id}", true},
		{"x{bin|uuid}", "x12_{id}", false},
		{"{id}:{at}", "5:2024-05-01 10%3A00%3A00", true},
	} {
		a, b := parse(t, c.a, false), parse(t, c.b, false)
		if got := template.Overlap(a, b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		if got := template.Overlap(b, a); got != c.want {
			t.Errorf("%s and %s: %v", c.b, c.a, got)
		}
	}
}
