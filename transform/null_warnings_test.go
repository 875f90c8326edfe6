package transform_test

import (
	"strings"
	"testing"

	"rowfall/transform"
)

// A nullable column in a key, member or score is a warning unless the file decides about NULLs.
// Without it, the fault would show when the first NULL comes.
func TestNullWarnings(t *testing.T) {
	table := parseTable(t, "shop.t: id int pk; a int null; b int null; c int; d datetime null")
	for output, want := range map[string]string{
		`{set: "s:{a}", member: "{id}"}`:                        "a of shop.t may be NULL, and",
		`{set: "s:{a}", member: "{b}:{id}"}`:                    "a, b of shop.t may be NULL",
		`{hash: h, field: "{id}:{a}"}`:                          "a of shop.t",
		`{string: "s:{id}:{a}", value: "{b}"}`:                  "a of shop.t",
		`{sorted_set: z, member: "{id}", score: d}`:             "d of shop.t may be NULL, and",
		`{sorted_set: z, member: "{id}", score: b * 2 + 1}`:     "",
		`{sorted_set: z, member: "{id}", score: 'b ?? 0'}`:      "",
		`{sorted_set: z, member: "{id}", score: c}`:             "",
		`{set: "s:{a}", member: "{id}", when_null: skip}`:       "",
		`{set: "s:{a}", member: "{id}", when_null: error}`:      "",
		`{hash: "h:{id}"}`:                                      "",
		`{string: "s:{id}", value: "{a}"}`:                      "",
		`{string: "s:{id}", value: x, expire_at: d}`:            "",
		`{hash: "h:{c}", field: "{id}", value: "{a}", ttl: 1d}`: "",
	} {
		p, err := transform.Compile(parseMapping(t, `shop.t: {write: [`+output+`]}`), table)
		if err != nil {
			if want == "" && strings.Contains(err.Error(), "may be NULL") {
				continue // expressions reject NULLs by themselves
			}
			t.Errorf("%s: %v", output, err)
			continue
		}
		var got []string
		for _, w := range p.Warnings() {
			got = append(got, w.Error())
		}
		switch {
		case want == "" && len(got) > 0, want != "" && len(got) != 1:
			t.Errorf("%s: got %q", output, got)
		case want != "" && (!strings.HasPrefix(got[0], `line 1: tables."shop.t".write[0]: `+want) ||
			!strings.Contains(got[0], "add `when_null: skip` here")):
			t.Errorf("%s: got %q, want %s", output, got, want)
		}
	}
}
