package file

import (
	"regexp"
	"strings"
	"testing"

	"rowfall/transform"
)

const mappingPageFile = `pipeline: shop
salt: secret
source: {mysql: {addresses: [127.0.0.1:3306], user: rowfall}}
sink: {node: {listen: 127.0.0.1:6400, dir: data/shop}}
tables:
`

// tablesKey matches the part of a path that names an entry of tables, and the index of an output.
var tablesKey = regexp.MustCompile(`^tables\."[^"]*"\.|\[\d+\]`)

// mappingKeys reads a section tables. It returns the keys that the reader asked for, relative to
// their entry, and those that the section has.
func mappingKeys(t *testing.T, tables string) (asked, given map[string]bool) {
	t.Helper()
	indented := "  " + strings.ReplaceAll(strings.TrimSuffix(tables, "\n"), "\n", "\n  ") + "\n"
	keys, d := askedKeys(mappingPageFile + indented)
	if err := d.err(); err != nil {
		t.Errorf("%v\n%s", err, tables)
	}
	asked, given = make(map[string]bool), make(map[string]bool)
	for path := range keys {
		if strings.HasPrefix(path, `tables."`) {
			asked[tablesKey.ReplaceAllString(path, "")] = true
		}
	}
	for path := range d.lines {
		given[tablesKey.ReplaceAllString(path, "")] = true
	}
	return asked, given
}

// docs/mapping.md describes each key that the reader accepts below tables, and has an example with
// it that the reader accepts. Its tables have no other keys.
func TestKeysOfMappingPage(t *testing.T) {
	page := readDocPage(t, "mapping.md")
	given := make(map[string]bool)
	for _, text := range page.yaml {
		_, keys := mappingKeys(t, text)
		for key := range keys {
			given[key] = true
		}
	}
	// An entry with an output of each kind makes the reader ask for every key.
	all := "shop.t:\n  write:\n"
	for _, kind := range transform.Kinds() {
		all += "    - " + kind.Keyword + ": k:{id}\n"
		for _, s := range kind.Settings {
			if s.Required {
				all += "      " + s.Name + ": id\n"
			}
		}
	}
	asked, _ := mappingKeys(t, all)

	described := make(map[string]bool)
	for _, code := range inBackquotes(strings.ReplaceAll(page.text, "```", "")) {
		key, _, _ := strings.Cut(code, ":")
		described[key] = true
	}
	for key := range asked {
		name := strings.TrimPrefix(key, "write.")
		if !described[name] {
			t.Errorf("docs/mapping.md does not describe the key %s", name)
		}
		if !given[key] {
			t.Errorf("docs/mapping.md has no example with the key %s", name)
		}
	}
	for _, cells := range page.tables["Key"] {
		if key, _ := settingOf(cells[0]); !asked[key] && key != "write" { // a list of sections
			t.Errorf("docs/mapping.md has the key %s, which does not exist", cells[0])
		}
	}
	for _, cells := range page.tables["Output"] {
		for _, key := range append(inBackquotes(cells[0]), inBackquotes(cells[2])...) {
			if !asked["write."+key] {
				t.Errorf("docs/mapping.md has the key %s of an output, which does not exist", key)
			}
		}
	}
}
