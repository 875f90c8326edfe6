package file_test

import (
	"strings"
	"testing"

	"rowfall/pipelines/file"
)

// fault returns the error of a file with these lines below tables.
func fault(t *testing.T, tables string) string {
	t.Helper()
	text := strings.Replace(minimal, "  \"shop.*\": {}\n", tables, 1)
	_, err := file.Parse("x.yaml", []byte(text), environment)
	if err == nil {
		t.Fatalf("no error for:\n%s", text)
	}
	return err.Error()
}

// The message about a key or a list at a wrong place says where it belongs.
func TestMisplaced(t *testing.T) {
	const list = "want a mapping (name: value), found a list; write "
	for _, test := range []struct{ name, entry, want string }{
		{
			"output in an entry", `{hash: "t:{id}"}`,
			`tables."shop.t".hash: is not a key here; write it as an item of write: ` +
				`write: [{hash: ...}]`,
		},
		{
			"setting of an output in an entry", "{ttl: 3d}",
			"ttl: is not a key here; it is a setting of an output: write it in an item of write",
		},
		{
			"common setting in an entry", "{when_null: skip}",
			"when_null: is not a key here; it is a setting of an output",
		},
		{
			"key of columns in an entry", "{exclude: [a]}",
			"exclude: is not a key here; write it below columns: columns: {exclude: ...}",
		},
		{
			"list as an entry", `[{hash: "t:{id}"}]`,
			`x.yaml:5: tables."shop.t": ` + list + "the list below write: write: [...]",
		},
		{
			"ttl of a list", "{write: [{list: l, value: v, ttl: 3d}]}",
			"write[0].ttl: is not a key here; a list output has no ttl; remove it (outputs with " +
				"it: hash, json, string, set, sorted_set)",
		},
		{
			"where of a hash", `{write: [{hash: "h:{id}", where: a}]}`,
			"where: is not a key here; a hash output has no where: write it at the table",
		},
		{
			"columns of an output", `{write: [{hash: "h:{id}", columns: {}}]}`,
			"columns: is not a key here; write it at the table, beside write",
		},
		{
			"exclude of an output", `{write: [{hash: "h:{id}", exclude: [a]}]}`,
			"exclude: is not a key here; write it below columns of the table, beside write",
		},
		{"list of masks", "{columns: {mask: [email]}}", list + "{email: redact}"},
		{"list of additions", "{columns: {add: [a, b]}}", list + "{a: EXPRESSION}"},
		{"list of mappings", "{columns: {add: [{a: b}]}}", list + "{NAME: EXPRESSION}"},
		{"list of names", "{columns: {rename: [a, b]}}", list + "{a: FIELD}"},
		{"list of limits", "{columns: {max_bytes: [a, b]}}", list + "{a: SIZE}"},
		{"list of columns", "{columns: [a, b]}", list + "{include: [a, ...]}"},
		{"misspelt key", "{wher: a}", "wher: is not a key here; did you mean where?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := fault(t, "  shop.t: "+test.entry+"\n")
			if !strings.Contains(got, test.want) {
				t.Errorf("error\n%s\nlacks %q", got, test.want)
			}
			if strings.Contains(got, "\n") {
				t.Errorf("several faults:\n%s", got)
			}
		})
	}
}

// A value that needs quotes is reported at its line, with the quoted value. The YAML library names
// another line, or takes a quote within the value for the beginning of a quoted value.
func TestValuesThatNeedQuotes(t *testing.T) {
	const colon = `contains ": ", which ends a key in YAML; write the value in quotes: `
	for _, test := range []struct{ name, tables, want string }{
		{
			"template", "  shop.t:\n    write:\n      - hash: {table}:{id}\n",
			`x.yaml:7: tables."shop.t".write: not YAML: the value of hash begins with { and is ` +
				`no mapping; write the template in quotes: "{table}:{id}"`,
		},
		{
			"template before another key",
			"  shop.t:\n    write:\n      - set: s\n        member: {id}:x # id\n",
			`x.yaml:8: tables."shop.t".write: not YAML: the value of member begins with { and is ` +
				`no mapping; write the template in quotes: "{id}:x"`,
		},
		{
			"list", "  shop.t:\n    where: [a] == 1\n",
			`x.yaml:6: tables."shop.t": not YAML: the value of where begins with [ and is no ` +
				`list; write the value in quotes: "[a] == 1"`,
		},
		{
			"colon in a text",
			"  shop.t:\n    columns:\n      add:\n        lab: name + \": \" + email\n",
			`x.yaml:8: tables."shop.t".columns.add: not YAML: the value of lab ` + colon +
				`'name + ": " + email'`,
		},
		{
			"colon of a condition", "  shop.t:\n    columns:\n      add:\n        x: a ? b : c\n",
			`the value of x ` + colon + `"a ? b : c"`,
		},
		{
			"both quotes", "  shop.t:\n    where: a == \"it's: \"\n",
			`the value of where ` + colon + `'a == "it''s: "'`,
		},
		{
			"backtick", "  shop.t:\n    where: `status` == \"new\"\n",
			`x.yaml:6: tables."shop.t": not YAML: the value of where begins with a backtick, ` +
				`which YAML does not allow; in an expression, write columns without quotes`,
		},
		{
			"backtick in braces", "  shop.t: {where: `status` == 1}\n",
			"x.yaml:5: tables: not YAML: the value of where begins with a backtick",
		},
		{
			"percent", "  shop.t:\n    where: %x\n",
			"the value of where begins with %, which YAML does not allow; put the whole value in " +
				"quotes",
		},
		{
			"colon in a comment, then another fault",
			"  shop.t:\n    where: a # b: c\n    cascades: [stop\n",
			`x.yaml:7: tables."shop.t": not YAML: did not find expected ',' or ']'`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fault(t, test.tables); !strings.Contains(got, test.want) {
				t.Errorf("error\n%s\nlacks %q", got, test.want)
			}
		})
	}
	text := strings.Replace(minimal, `"${PW}"}`, `x}`, 1) + "salt: {secret}: word\n"
	_, err := file.Parse("x.yaml", []byte(text), environment)
	if err == nil || strings.Contains(err.Error(), "word") {
		t.Errorf("the error shows the salt: %v", err)
	}
}
