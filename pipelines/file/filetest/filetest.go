// Package filetest has pipeline files for tests.
package filetest

import (
	"os"
	"strings"
	"testing"

	"rowfall/pipelines/file"
)

// Mapping is a file whose mapping has a condition, columns and two outputs.
const Mapping = `pipeline: shop
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

// Parse returns the pipeline of a file's text. The file's name is for messages. An error ends the
// test.
func Parse(t testing.TB, name, text string) *file.Config {
	t.Helper()
	c, err := file.Parse(name, []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Replace replaces the first occurrence of old in a file's text. If nothing changes, the test ends.
func Replace(t testing.TB, text, old, replacement string) string {
	t.Helper()
	edited := strings.Replace(text, old, replacement, 1)
	if edited == text {
		t.Fatalf("replace %q by %q: the text does not change", old, replacement)
	}
	return edited
}
