package pipelines

import (
	"errors"
	"os"
	"strings"
	"testing"

	"rowfall/pipelines/file"
	"rowfall/pipelines/tablestate"
)

// The error about another mapping names the places that differ.
func TestOtherMapping(t *testing.T) {
	const text = `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall}
tables:
  "shop.*": {}
  shop.users:
    where: status != "deleted"
    columns: {exclude: [secret], rename: {a: b, FirstName: d}, add: {name: first + last}}
    write:
      - hash: user:{id}
      - set: by:{country}
        member: "{id}"
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
`
	parse := func(text string) *file.Config {
		t.Helper()
		c, err := file.Parse("x.yaml", []byte(text), os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		return c
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
	for _, c := range []struct{ old, replacement, want string }{
		{`"deleted"`, `"gone"`, `x.yaml:7: tables."shop.users".where: the data was built with another mapping than this file's, which has "status != \"deleted\"" here; put the old mapping back, or build the data again with --from snapshot`},
		{"    where: status != \"deleted\"\n", "", `x.yaml:6: tables."shop.users".where: the data was built with another mapping than this file's, which has "status != \"deleted\"" here`},
		{"  \"shop.*\": {}\n", "", `x.yaml:4: tables."shop.*": the data was built with another mapping than this file's, which has this, too; put`},
		{"  \"shop.*\": {}\n", "  \"shop.*\": {}\n  shop.log: {ignore: true}\n", `x.yaml:6: tables."shop.log": the data was built with another mapping than this file's, which does not have this; put`},
		{"[secret]", "[secret, more]", `x.yaml:8: tables."shop.users".columns.exclude: the data was built with another mapping than this file's, which has ["secret"] here`},
		{"{a: b, FirstName: d}", "{a: b, FirstName: e}", `tables."shop.users".columns.rename.FirstName: the data was built with another mapping than this file's, which has "d" here`},
		{"rename: {a: b, FirstName: d}, ", "", `tables."shop.users".columns.rename.FirstName: the data was built with another mapping than this file's, which has "d" here; put the old mapping back, or build the data again with --from snapshot (other places that differ: tables."shop.users".columns.rename.a)`},
		{"first + last", "last", `tables."shop.users".columns.add.name: the data was built with another mapping than this file's, which has "first + last" here`},
		{"{name: first + last}", "{other: first + last}", `columns.add.name: the data was built with another mapping than this file's, which has "first + last" here; put the old mapping back, or build the data again with --from snapshot (other places that differ: tables."shop.users".columns.add.other)`},
		{"hash: user:", "json: user:", `x.yaml:10: tables."shop.users".write[0]: the data was built with another mapping than this file's, which has "hash: user:{id}" here`},
		{"hash: user:", "hash: users:", `x.yaml:10: tables."shop.users".write[0].hash: the data was built with another mapping than this file's, which has "user:{id}" here`},
		{"member: \"{id}\"", "member: \"{id}\"\n        when_null: skip", `x.yaml:13: tables."shop.users".write[1].when_null: the data was built with another mapping than this file's, which does not have this`},
		{"      - set: by:{country}\n        member: \"{id}\"\n", "", `x.yaml:9: tables."shop.users".write[1]: the data was built with another mapping than this file's, which has "set: by:{country}" here`},
	} {
		edited := strings.Replace(text, c.old, c.replacement, 1)
		if edited == text {
			t.Fatalf("%s: the test changes nothing", c.old)
		}
		err := checkMapping(parse(edited), state)
		if err == nil || !strings.Contains(err.Error(), c.want) ||
			!errors.As(err, new(*StopError)) {
			t.Errorf("%s: got\n%v, want\n%s", c.old, err, c.want)
		}
		// What the first versions wrote has no meaning beside the fingerprint.
		err = checkMapping(parse(edited),
			map[string][]byte{tablestate.MappingPiece: state[tablestate.MappingPiece]})
		if err == nil ||
			err.Error() != "x.yaml: the data was built with another mapping than this file's; put the old mapping back, or build the data again with --from snapshot" {
			t.Errorf("%s: got %v", c.old, err)
		}
	}
	if err := checkMapping(parse(text), map[string][]byte{tablestate.MappingPiece: state[tablestate.MappingPiece]}); err != nil {
		t.Errorf("data without the meaning: %v", err)
	}
}
