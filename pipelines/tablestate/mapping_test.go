package tablestate_test

import (
	"slices"
	"strings"
	"testing"

	"rowfall/pipelines/file/filetest"
	"rowfall/pipelines/tablestate"
)

// Mappings that build the same data have one fingerprint, so that a comment does not cost a
// rebuild. Mappings that do not have different ones.
func TestFingerprint(t *testing.T) {
	of := func(text string) string {
		t.Helper()
		m, err := tablestate.Canonical(&filetest.Parse(t, "x.yaml", text).Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return string(tablestate.Fingerprint(m))
	}
	want := of(filetest.Mapping)
	// Existing data hold this fingerprint, so later versions must compute the same.
	if want != "v1:703645d26bd10c87f075e211c736c5ae53127f9ae9b6e5e45b2c26d4cb559235" {
		t.Errorf("the mapping is %s", want)
	}
	for _, test := range []struct {
		what, old, replacement string
		same                   bool
	}{
		{
			"a comment and empty lines", "tables:\n", "\n# All of the shop.\ntables:   # these\n\n",
			true,
		},
		{"order of entries", "  \"shop.*\": {}\n  shop.users:", "  shop.users:", true}, // (1)
		{
			"order of keys", "{exclude: [secret], rename: {a: b, c: d}",
			"{rename: {c: d, a: b}, exclude: [secret]", true,
		},
		{"quotes that change nothing", "shop.users:", "\"`shop`.`users`\":", true},
		{"quotes that make a name literal", "\"shop.*\"", "\"shop.`*`\"", false},
		{"style", "columns: {exclude: [secret]", "columns: {\"exclude\": ['secret']", true},
		{
			"order of an output", "set: by:{country}\n        member: \"{id}\"",
			"member: '{id}'\n        set: by:{country}", true,
		},
		{
			"a default that is said",
			"member: \"{id}\"", "member: \"{id}\"\n        when_null: error", true,
		},
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
		{"shared", "member: \"{id}\"", "member: \"{id}\"\n        shared: true", false},
		{"not shared", "member: \"{id}\"", "member: \"{id}\"\n        shared: false", true},
		{"a NULL's policy", "member: \"{id}\"", "member: \"{id}\"\n        when_null: skip", false},
		{"a time to live", "member: \"{id}\"", "member: \"{id}\"\n        ttl: 30d", false},
		{"a time of expiry", "member: \"{id}\"", "member: \"{id}\"\n        expire_at: d", false},
		{"the key columns", "where:", "key_columns: [id]\n    where:", false},
		{
			"order of outputs",
			"- hash: user:{id}\n      - set: by:{country}\n        member: \"{id}\"",
			"- set: by:{country}\n        member: \"{id}\"\n      - hash: user:{id}", false,
		},
		{"an entry more", "tables:\n", "tables:\n  shop.log: {ignore: true}\n", false},
		{"an entry less", "  \"shop.*\": {}\n", "", false},
	} {
		edited := filetest.Replace(t, filetest.Mapping, test.old, test.replacement)
		if test.what == "order of entries" { // (1) adds the entry again, at the end
			edited = filetest.Replace(t, edited, "sink:", "  \"shop.*\": {}\nsink:")
		}
		if got := of(edited); (got == want) != test.same {
			t.Errorf("%s: another mapping: %v, want %v", test.what, got != want, !test.same)
		}
	}
}

// A time to live has one form, however it is spelled, and differences name the file's keys.
func TestTTLInMapping(t *testing.T) {
	of := func(settings string) []byte {
		t.Helper()
		text := filetest.Replace(t, filetest.Mapping, "- hash: user:{id}",
			"- hash: user:{id}\n        "+settings)
		m, err := tablestate.Canonical(&filetest.Parse(t, "x.yaml", text).Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	month := of("ttl: 30d\n        ttl_jitter: 10%")
	if other := of("ttl: 720h\n        ttl_jitter: 10%"); string(other) != string(month) {
		t.Errorf("30d is %s, 720h is %s", month, other)
	}
	got := tablestate.Compare(month, of("ttl: 1w"))
	want := []tablestate.Difference{
		{Path: `tables."shop.users".write[0].ttl`, What: `has "30d" here`},
		{Path: `tables."shop.users".write[0].ttl_jitter`, What: `has "10%" here`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The stored mapping has a digest of the salt and not the salt, so that another salt counts as
// another mapping. Reactions that leave a row out build the same data.
func TestStoredMasks(t *testing.T) {
	of := func(salt, columns string) string {
		t.Helper()
		text := filetest.Replace(t, filetest.Mapping,
			"pipeline: shop", "pipeline: shop\nsalt: "+salt)
		if columns != "" {
			text = filetest.Replace(t, text, "{exclude: [secret]", "{"+columns+"exclude: [secret]")
		}
		m, err := tablestate.Canonical(&filetest.Parse(t, "x.yaml", text).Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return string(m)
	}
	masked := "mask: {email: sha256}, "
	for _, test := range []struct {
		name, a, b string
		same       bool
	}{
		{"a salt without a mask", of("pepper", ""), of("other", ""), true},
		{"another salt", of("pepper", masked), of("other", masked), false},
		{"a mask", of("pepper", masked), of("pepper", "mask: {email: redact}, "), false},
		{
			"reactions that leave the row out", of("x", "max_bytes: {a: 1}, "),
			of("x", "max_bytes: {a: 1}, too_long: dead_letter, "), true,
		},
		{
			"omit", of("x", "max_bytes: {a: 1}, "),
			of("x", "max_bytes: {a: 1}, too_long: omit, "), false,
		},
	} {
		if (test.a == test.b) != test.same || strings.Contains(test.a+test.b, "pepper") {
			t.Errorf("%s:\n%s\n%s", test.name, test.a, test.b)
		}
	}
	found := tablestate.Compare([]byte(of("a", masked)), []byte(of("b", masked)))
	want := tablestate.Difference{Path: "salt", What: "has another salt"}
	if len(found) != 1 || found[0] != want {
		t.Errorf("other salts differ in %v", found)
	}
	found = tablestate.Compare([]byte(of("a", masked)), []byte(of("a", "")))
	if len(found) != 1 || found[0].Path != `tables."shop.users".columns.mask.email` {
		t.Errorf("a removed mask differs in %v", found)
	}
}

// Earlier versions evaluated `where` on the values before the mask. The mapping of
// their data differs if a condition may read a masked column, and only then.
func TestStoredConditionsWithMasks(t *testing.T) {
	of := func(masked string) []byte {
		t.Helper()
		text := filetest.Replace(t, filetest.Mapping, "{exclude: [secret]",
			"{mask: {"+masked+": redact}, exclude: [secret]")
		m, err := tablestate.Canonical(&filetest.Parse(t, "x.yaml", text).Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const mark = `,"WhereSeesMasks":true`
	if text := string(of("email")); strings.Contains(text, mark) {
		t.Errorf("the condition reads no masked column: %s", text)
	}
	current := string(of("STATUS"))
	earlier := strings.Replace(current, mark, "", 1)
	if earlier == current {
		t.Fatalf("the condition reads a masked column: %s", current)
	}
	got := tablestate.Compare([]byte(earlier), []byte(current))
	if len(got) != 1 || got[0].Path != `tables."shop.users".where` ||
		!strings.Contains(got[0].What, "on values before the mask") {
		t.Errorf("the difference is %q", got)
	}
}
