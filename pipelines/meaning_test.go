package pipelines

import (
	"errors"
	"os"
	"strings"
	"testing"

	"rowfall/pipelines/file"
)

// What builds the same data is the same mapping: else a comment costs a rebuild. What
// does not must not pass for it: the data would be of two mappings.
func TestFingerprint(t *testing.T) {
	const text = `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall}
tables:
  "shop.*": {}
  shop.users:
    where: status != "deleted"
    columns: {exclude: [secret], rename: {a: b, c: d}, add: {name: first + last}}
    write:
      - hash: user:{id}
      - set: by:{country}
        member: "{id}"
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
`
	of := func(text string) string {
		t.Helper()
		c, err := file.Parse("x.yaml", []byte(text), os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		m, err := meaning(&c.Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return string(fingerprint(m))
	}
	want := of(text)
	// What this version's data know the mapping by: another one must come to it too.
	if want != "v1:703645d26bd10c87f075e211c736c5ae53127f9ae9b6e5e45b2c26d4cb559235" {
		t.Errorf("the mapping is %s", want)
	}
	for _, test := range []struct {
		what, old, replacement string
		same                   bool
	}{
		{"a comment and empty lines", "tables:\n", "\n# All of the shop.\ntables:   # these\n\n", true},
		{"order of entries", "  \"shop.*\": {}\n  shop.users:", "  shop.users:", true}, // and back below
		{"order of keys", "{exclude: [secret], rename: {a: b, c: d}", "{rename: {c: d, a: b}, exclude: [secret]", true},
		{"quotes that change nothing", "shop.users:", "\"`shop`.`users`\":", true},
		{"quotes that make a name literal", "\"shop.*\"", "\"shop.`*`\"", false},
		{"style", "columns: {exclude: [secret]", "columns: {\"exclude\": ['secret']", true},
		{"order of an output", "set: by:{country}\n        member: \"{id}\"", "member: '{id}'\n        set: by:{country}", true},
		{"a default that is said", "member: \"{id}\"", "member: \"{id}\"\n        when_null: error", true},
		{"the source", "user: rowfall", "user: other", true},
		{"the sink", "6400", "6401", true},
		{"the name", "pipeline: shop", "pipeline: other", true}, // its data are under other keys
		{"cascades", "where:", "cascades: ignore\n    where:", true},
		{"a condition", "deleted", "gone", false},
		{"an excluded column", "[secret]", "[secret, other]", false},
		{"a new name", "c: d", "c: e", false},
		{"an expression", "first + last", "last + first", false},
		{"a key", "user:{id}", "users:{id}", false},
		{"a kind", "hash: user", "json: user", false},
		{"a NULL's policy", "member: \"{id}\"", "member: \"{id}\"\n        when_null: skip", false},
		{"the key columns", "where:", "key_columns: [id]\n    where:", false},
		{"order of outputs", "- hash: user:{id}\n      - set: by:{country}\n        member: \"{id}\"", "- set: by:{country}\n        member: \"{id}\"\n      - hash: user:{id}", false},
		{"an entry more", "tables:\n", "tables:\n  shop.log: {ignore: true}\n", false},
		{"an entry less", "  \"shop.*\": {}\n", "", false},
	} {
		edited := strings.Replace(text, test.old, test.replacement, 1)
		if test.what == "order of entries" {
			edited = strings.Replace(edited, "sink:", "  \"shop.*\": {}\nsink:", 1)
		}
		if edited == text {
			t.Fatalf("%s: the test changes nothing", test.what)
		}
		if got := of(edited); (got == want) != test.same {
			t.Errorf("%s: another mapping: %v, want %v", test.what, got != want, !test.same)
		}
	}
}

// A mapping that differs was only called another one, whose text nobody had any more.
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
	now, err := meaning(&parse(text).Mapping)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string][]byte{mappingState: fingerprint(now), meaningState: now}
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
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, new(*StopError)) {
			t.Errorf("%s: got\n%v, want\n%s", c.old, err, c.want)
		}
		// What the first versions wrote has no meaning beside the fingerprint.
		err = checkMapping(parse(edited), map[string][]byte{mappingState: state[mappingState]})
		if err == nil || err.Error() != "x.yaml: the data was built with another mapping than this file's; put the old mapping back, or build the data again with --from snapshot" {
			t.Errorf("%s: got %v", c.old, err)
		}
	}
	if err := checkMapping(parse(text), map[string][]byte{mappingState: state[mappingState]}); err != nil {
		t.Errorf("data without the meaning: %v", err)
	}
}
