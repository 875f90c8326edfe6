package pipelines

import (
	"errors"
	"strings"
	"testing"

	"rowfall/pipelines/file"
	"rowfall/pipelines/file/filetest"
	"rowfall/pipelines/tablestate"
)

// The error about another mapping names the places that differ.
func TestOtherMapping(t *testing.T) {
	text := filetest.Replace(t, filetest.Mapping, "c: d", "FirstName: d")
	parse := func(text string) *file.Config {
		t.Helper()
		return filetest.Parse(t, "x.yaml", text)
	}
	now, err := tablestate.Canonical(&parse(text).Mapping)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string][]byte{
		tablestate.MappingPiece: tablestate.Fingerprint(now),
		tablestate.MeaningPiece: now,
	}
	if err := checkMapping(parse(text), state); err != nil {
		t.Errorf("the same mapping: %v", err)
	}
	const (
		other = "the data was built with another mapping than this file's"
		back  = "; put the old mapping back, or build the data again with --from snapshot --replace"
	)
	for _, c := range []struct{ old, replacement, path, difference string }{
		{
			`"deleted"`, `"gone"`,
			`x.yaml:7: tables."shop.users".where`, `has "status != \"deleted\"" here` + back,
		},
		{
			"    where: status != \"deleted\"\n", "",
			`x.yaml:6: tables."shop.users".where`, `has "status != \"deleted\"" here`,
		},
		{"  \"shop.*\": {}\n", "", `x.yaml:4: tables."shop.*"`, `has this, too; put`},
		{
			"  \"shop.*\": {}\n", "  \"shop.*\": {}\n  shop.log: {ignore: true}\n",
			`x.yaml:6: tables."shop.log"`, `does not have this; put`,
		},
		{
			"[secret]", "[secret, more]",
			`x.yaml:8: tables."shop.users".columns.exclude`, `has ["secret"] here`,
		},
		{
			"{a: b, FirstName: d}", "{a: b, FirstName: e}",
			`tables."shop.users".columns.rename.FirstName`, `has "d" here`,
		},
		{
			"rename: {a: b, FirstName: d}, ", "",
			`tables."shop.users".columns.rename.FirstName`,
			`has "d" here` + back +
				` (other places that differ: tables."shop.users".columns.rename.a)`,
		},
		{"first + last", "last", `tables."shop.users".columns.add.name`, `has "first + last" here`},
		{
			"{name: first + last}", "{other: first + last}",
			`columns.add.name`,
			`has "first + last" here` + back +
				` (other places that differ: tables."shop.users".columns.add.other)`,
		},
		{
			"hash: user:", "json: user:",
			`x.yaml:10: tables."shop.users".write[0]`, `has "hash: user:{id}" here`,
		},
		{
			"hash: user:", "hash: users:",
			`x.yaml:10: tables."shop.users".write[0].hash`, `has "user:{id}" here`,
		},
		{
			"member: \"{id}\"", "member: \"{id}\"\n        when_null: skip",
			`x.yaml:13: tables."shop.users".write[1].when_null`, `does not have this`,
		},
		{
			"      - set: by:{country}\n        member: \"{id}\"\n", "",
			`x.yaml:9: tables."shop.users".write[1]`, `has "set: by:{country}" here`,
		},
	} {
		edited := filetest.Replace(t, text, c.old, c.replacement)
		err := checkMapping(parse(edited), state)
		want := c.path + ": " + other + ", which " + c.difference
		if err == nil || !strings.Contains(err.Error(), want) ||
			!errors.As(err, new(*StopError)) {
			t.Errorf("%s: got\n%v, want\n%s", c.old, err, want)
		}
		// What the first versions wrote has no meaning beside the fingerprint.
		err = checkMapping(parse(edited),
			map[string][]byte{tablestate.MappingPiece: state[tablestate.MappingPiece]})
		if err == nil ||
			err.Error() != "x.yaml: "+other+back {
			t.Errorf("%s: got %v", c.old, err)
		}
	}
	first := map[string][]byte{tablestate.MappingPiece: state[tablestate.MappingPiece]}
	if err := checkMapping(parse(text), first); err != nil {
		t.Errorf("data without the meaning: %v", err)
	}
}
