package transform_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/transform"
)

// A column that an ALTER drops or renames is no fault of the lists that name it, unless a column
// that is excluded or masked would be written under its new name.
func TestAlteredColumns(t *testing.T) {
	const table = "shop.t: id int pk; a int; secret text; b text"
	type renames map[string]string
	for _, c := range []struct {
		name, mapping, after string
		renamed              renames
		fault                string // of the mapping; empty if the mapping fits
		warning              string // empty if there is none
	}{
		{
			"drop excluded", `exclude: [secret]`, "shop.t: id int pk; a int; b text", nil,
			"", `columns.exclude: shop.t has no column "secret" any more: it was dropped`,
		},
		{
			"drop masked", `mask: {secret: redact}`, "shop.t: id int pk; a int; b text", nil,
			"", `columns.mask.secret: shop.t has no column "secret" any more: it was dropped`,
		},
		{
			"drop limited", `max_bytes: {b: 9}`, "shop.t: id int pk; a int; secret text", nil,
			"", `columns.max_bytes.b: shop.t has no column "b" any more: it was dropped`,
		},
		{
			"drop renamed", `rename: {b: c}`, "shop.t: id int pk; a int; secret text", nil,
			"", `columns.rename: shop.t has no column "b" any more: it was dropped`,
		},
		{
			"drop included", `include: [id, b]`, "shop.t: id int pk; a int; secret text", nil,
			"", `columns.include: shop.t has no column "b" any more: it was dropped`,
		},
		{
			"rename included", `include: [id, b]`, "shop.t: id int pk; a int; secret text; c text",
			renames{"c": "b"},
			"", `columns.include: shop.t has no column "b" any more: it was renamed to c`,
		},
		{
			"rename excluded", `exclude: [Secret]`, "shop.t: id int pk; a int; open text; b text",
			renames{"open": "secret"},
			`columns.exclude: the column secret of shop.t, which is excluded, was renamed to open`,
			`columns.exclude: shop.t has no column "Secret" any more: it was renamed to open`,
		},
		{
			"rename masked", `mask: {secret: redact}`,
			"shop.t: id int pk; a int; open text; b text",
			renames{"open": "secret"},
			`columns.mask.secret: the column secret of shop.t, which is masked, was renamed`, "",
		},
		{
			"rename excluded to excluded", `exclude: [secret, open]`,
			"shop.t: id int pk; a int; open text; b text",
			renames{"open": "secret"},
			"", `columns.exclude: shop.t has no column "secret" any more: it was renamed to open`,
		},
		{
			"exchange names", `exclude: [secret]`, "shop.t: id int pk; a int; b text; secret text",
			renames{"b": "secret", "secret": "b"},
			`columns.exclude: the column secret of shop.t, which is excluded, was renamed to b`, "",
		},
		{
			"drop one and rename to it", `exclude: [secret]`, "shop.t: id int pk; a int; b text",
			renames{"b": "secret"},
			`columns.exclude: the column secret of shop.t, which is excluded, was renamed to b`, "",
		},
		{
			"case of letters", `exclude: [secret]`,
			"shop.t: id int pk; a int; SECRET text; b text",
			renames{"SECRET": "secret"},
			"", "",
		},
	} {
		for _, pattern := range []string{"shop.t", "shop.*"} {
			m := parseMapping(t, `"`+pattern+`": {columns: {`+c.mapping+`}}`)
			rule, err := m.Rule("shop", "t")
			if err != nil {
				t.Fatal(err)
			}
			after := parseTable(t, c.after)
			h := &transform.ColumnHistory{Known: true}
			h.Alter(rule, parseTable(t, table), after, c.renamed)
			p, err := transform.CompileAltered(m, after, h)
			switch {
			case err == nil && c.fault != "", err != nil && c.fault == "",
				err != nil && !strings.Contains(err.Error(), c.fault):
				t.Errorf("%s, %s: %v, want %q", c.name, pattern, err, c.fault)
			}
			if err == nil && pattern == "shop.t" {
				var got []string
				for _, w := range p.Warnings() {
					got = append(got, w.Error())
				}
				if text := strings.Join(got, "\n"); !strings.Contains(text, c.warning) ||
					c.warning == "" && text != "" {
					t.Errorf("%s: the warnings are %q, want %q", c.name, text, c.warning)
				}
			}
		}
	}
}

// What becomes of an excluded column is followed through any number of statements.
func TestColumnHistory(t *testing.T) {
	m := parseMapping(t, `shop.t: {columns: {exclude: [secret]}}`)
	rule, err := m.Rule("shop", "t")
	if err != nil {
		t.Fatal(err)
	}
	h := &transform.ColumnHistory{Known: true}
	before := parseTable(t, "shop.t: id int pk; secret text")
	for _, step := range []struct {
		after    string
		renamed  map[string]string
		fits     bool
		dropped  []string
		toOrigin map[string]string
	}{
		{
			"shop.t: id int pk; x text",
			map[string]string{"x": "secret"},
			false,
			nil,
			map[string]string{"x": "secret"},
		},
		{"shop.t: id int pk; x text; n int", nil, false, nil, map[string]string{"x": "secret"}},
		{
			"shop.t: id int pk; y text; n int",
			map[string]string{"y": "x"},
			false,
			nil,
			map[string]string{"y": "secret"},
		},
		{"shop.t: id int pk; secret text; n int", map[string]string{"secret": "y"}, true, nil, nil},
		{"shop.t: id int pk; n int", nil, true, []string{"secret"}, nil},
		{"shop.t: id int pk; n int; secret text", nil, true, nil, nil},
		{
			"shop.t: id int pk; n int; z text",
			map[string]string{"z": "secret"},
			false,
			nil,
			map[string]string{"z": "secret"},
		},
		{"shop.t: id int pk; n int", nil, true, []string{"secret"}, nil},
	} {
		after := parseTable(t, step.after)
		h.Alter(rule, before, after, step.renamed)
		before = after
		if !slices.Equal(h.Dropped, step.dropped) || !maps.Equal(h.Renamed, step.toOrigin) {
			t.Errorf("after %s: %+v", step.after, h)
		}
		if _, err := transform.CompileAltered(m, after, h); (err == nil) != step.fits {
			t.Errorf("after %s: %v", step.after, err)
		}
	}
}

// Without a statement that dropped it, the absence of an excluded column stays a fault: the column
// may have another name. A new table has nothing but misspelt names.
func TestMissingColumns(t *testing.T) {
	table := parseTable(t, "shop.t: id int pk; a int")
	known := &transform.ColumnHistory{Known: true}
	for _, c := range []struct {
		columns string
		history *transform.ColumnHistory
		want    string
	}{
		{`exclude: [b]`, known, "whether the column was dropped or renamed"},
		{`mask: {b: redact}`, known, "whether the column was dropped or renamed"},
		{`include: [id, b]`, known, ""},
		{`rename: {b: c}`, known, ""},
		{`max_bytes: {b: 9}`, known, ""},
		{`exclude: [b]`, new(transform.ColumnHistory), `shop.t has no column "b"`},
		{`include: [id, b]`, new(transform.ColumnHistory), `shop.t has no column "b"`},
	} {
		m := parseMapping(t, `shop.t: {columns: {`+c.columns+`}}`)
		_, err := transform.CompileAltered(m, table, c.history)
		if c.want == "" && err != nil || c.want != "" &&
			(err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.columns, err, c.want)
		}
	}
}
