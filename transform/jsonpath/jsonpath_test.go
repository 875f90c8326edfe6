package jsonpath_test

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"rowfall/transform/jsonpath"
)

func find(t *testing.T, path, document string) (string, error) {
	t.Helper()
	p, err := jsonpath.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	got, found, err := p.AppendText([]byte("x"), []byte(document))
	if !found {
		return "-", err
	}
	return string(got[1:]), err
}

// TestMySQL compares the texts of values with those that a MySQL server printed.
func TestMySQL(t *testing.T) {
	golden, err := os.ReadFile("testdata/mysql.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	document := ""
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "\t") {
			document = line
			continue
		}
		path, want, _ := strings.Cut(line[1:], "\t")
		if want != "-" {
			if want, err = strconv.Unquote(want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := find(t, path, document); got != want || err != nil {
			t.Errorf("%s in %s: got %s, %v, want %s", path, document, got, err, want)
		}
	}
}

// MariaDB keeps the text of a document as it was written.
func TestTextOfUsers(t *testing.T) {
	for _, c := range [][3]string{
		{` { "a" : [ 1 , 2.50 ] , "b":null } `, `$.a`, `[ 1 , 2.50 ]`},
		{` { "a" : [ 1 , 2.50 ] , "b":null } `, `$.a[1]`, `2.50`},
		{`{"\u0061":1,"a":2}`, `$.a`, `1`},
		{`{"a":1}garbage`, `$.a`, `1`}, // what follows the value is not read
		{
			`"\ud83d\ude00 \ud83d \ud83dx \ude00\ud83d\u0041"`, `$`,
			"😀 \ufffd \ufffdx \ufffd\ufffdA",
		},
		{`"\/\b\f\n\r\t\"\\"`, `$`, "/\b\f\n\r\t\"\\"},
		{`-0.5E+10`, `$`, `-0.5E+10`},
	} {
		if got, err := find(t, c[1], c[0]); got != c[2] || err != nil {
			t.Errorf("%s in %s: got %q, %v", c[1], c[0], got, err)
		}
	}
}

func TestNotJSON(t *testing.T) {
	for _, document := range []string{
		"", " ", "{", "[", `{"a"`, `{"a":`, `{"a":1`, `{"a" 1}`, `{a:1}`, `[1`, `[1 2]`, `[1,]`,
		"x",
		"-", "1.", "1e", `"`, `"\`, `"\x"`, `"\u12"`, `"\ud83d\u1"`, "nul",
		`{"a":1,}`, `{"x":1 "a":2}`,
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		for _, path := range []string{"$", "$.a", "$[1]", "$[last]"} {
			got, err := find(t, path, document)
			if path == "$" && err == nil || err != nil && !errors.Is(err, jsonpath.ErrNotJSON) {
				t.Errorf("%s in %q: got %q, %v", path, document, got, err)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for path, want := range map[string]string{
		``: "does not begin with $", `a.b`: "does not begin with $", `$a`: "must follow",
		`$.`: "without a name", `$.*`: "wildcard", `$[*]`: "wildcard", `$**.a`: "wildcard",
		`$.a-b`: "needs quotes", `$.1`: "needs quotes", `$."a`: "no JSON string",
		`$[`:   "without a ]",
		`$[x]`: "number of one element", `$[-1]`: "number of one element",
		`$[0 to 2]`: "number of one element", `$[last+1]`: "[last-number]", `$[last-x]`: "number",
		`$[99999999999]`: "number of one element", `$. .a`: "without a name",
	} {
		_, err := jsonpath.Parse(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", path, err, want)
		}
	}
}

// FuzzFind checks that no path and no document causes a panic, and that a path that leads to the
// whole document agrees with encoding/json.
func FuzzFind(f *testing.F) {
	f.Add(`$.a[0]."b c"`, `{"a":[{"b c":"x\u0041"}]}`)
	f.Add(`$[last-1]`, `[1, 2.5e3, null]`)
	f.Add(`$`, `"\ud83d"`)
	f.Fuzz(func(t *testing.T, path, document string) {
		p, err := jsonpath.Parse(path)
		if err != nil {
			return
		}
		got, found, err := p.AppendText(nil, []byte(document))
		if err != nil && !errors.Is(err, jsonpath.ErrNotJSON) {
			t.Fatalf("%q: %v", document, err)
		}
		var want string
		if path == "$" && json.Unmarshal([]byte(document), &want) == nil && document[0] == '"' {
			if plain := strings.ToValidUTF8(string(got), "\uFFFD"); !found || !equal(plain, want) {
				t.Fatalf("%q: got %q, %v, want %q", document, got, err, want)
			}
		}
	})
}

// equal compares texts, apart from the number of the characters that replace invalid bytes.
func equal(a, b string) bool {
	remove := func(s string) string { return strings.ReplaceAll(s, "\uFFFD", "") }
	return remove(a) == remove(b)
}
