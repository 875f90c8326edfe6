package transform_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"rowfall/transform"
)

const mappingPage = "../docs/mapping.md"

var (
	// mappingExample is a block of YAML, the section tables of a pipeline file, and the block with
	// the changes and their commands that follows it.
	mappingExample = regexp.MustCompile("(?s)\n```yaml\n([^`].*?)```\n\n```\n(.*?)```\n")
	createTable    = regexp.MustCompile(`(?s)CREATE TABLE (\w+\.\w+) \((.*?)\);`)
)

// pageTable converts a CREATE TABLE of the page into the text that parseTable reads. Each column is
// "NAME TYPE [NOT NULL] [PRIMARY KEY] [UNIQUE]".
func pageTable(name, columns string) string {
	var definitions []string
	comma := regexp.MustCompile(`,\s+`) // not that of decimal(9,2)
	for _, column := range comma.Split(columns, -1) {
		words := strings.Fields(column)
		definition := words[0] + " " + strings.ToLower(words[1])
		rest := strings.Join(words[2:], " ")
		switch {
		case strings.Contains(rest, "PRIMARY KEY"):
			definition += " pk"
		case !strings.Contains(rest, "NOT NULL"):
			definition += " null"
		}
		if strings.Contains(rest, "UNIQUE") {
			definition += " u0"
		}
		definitions = append(definitions, definition)
	}
	return name + ": " + strings.Join(definitions, "; ")
}

// TestMappingPage checks the examples of docs/mapping.md: the commands behind each block of YAML
// are those that the outputs make of the changes. An example is about the first table of the page
// whose name it contains, else about the first table. With -update the test writes the commands
// into the page.
func TestMappingPage(t *testing.T) {
	text, err := os.ReadFile(mappingPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	tables := createTable.FindAllStringSubmatch(page, -1)
	if len(tables) == 0 {
		t.Fatal("the page has no CREATE TABLE")
	}
	examples := mappingExample.FindAllStringSubmatchIndex(page, -1)
	if n := strings.Count(page, "\n```yaml\n"); n == 0 || len(examples) != n {
		t.Errorf("%d of %d blocks of YAML have the form of an example", len(examples), n)
	}
	var updated strings.Builder
	end := 0
	for _, e := range examples {
		mapping, want := page[e[2]:e[3]], page[e[4]:e[5]]
		table := tables[0]
		for _, other := range tables {
			if strings.Contains(mapping, other[1]) {
				table = other
				break
			}
		}
		got := runExample(t, mapping, pageTable(table[1], table[2]), want)
		updated.WriteString(page[end:e[4]] + got)
		end = e[5]
		if got != want && !*update {
			line := 1 + strings.Count(page[:e[2]], "\n")
			t.Errorf("line %d: the page has\n%s\nand the commands are\n%s", line, want, got)
		}
	}
	updated.WriteString(page[end:])
	if *update {
		if err := os.WriteFile(mappingPage, []byte(updated.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runExample returns the changes of an example, which are the lines that begin with "# ", each with
// the commands that it makes. A table that the mapping does not name makes none.
func runExample(t *testing.T, mapping, table, changes string) string {
	t.Helper()
	p, err := transform.Compile(parseMapping(t, mapping), parseTable(t, table))
	if err != nil {
		t.Errorf("%v\n%s", err, mapping)
	}
	var out strings.Builder
	rows := make(map[string]map[string]bool) // by shared member
	resolve := func(d *transform.Deferred, out *transform.Commands) error {
		if d.Kind != transform.DeferredReference {
			return resolveAlone(d, out)
		}
		return resolveShared(rows, d, out)
	}
	for line := range strings.SplitSeq(changes, "\n") {
		change, ok := strings.CutPrefix(line, "# ")
		if !ok {
			continue
		}
		out.WriteString(line + "\n")
		if p != nil {
			out.WriteString(runChangeIn(t, p, change, transform.Delta, resolve))
		}
	}
	return out.String()
}

// resolveShared resolves a deferred command as a sink does, without the hidden keys. rows holds the
// rows that yield a member.
func resolveShared(
	rows map[string]map[string]bool, d *transform.Deferred, out *transform.Commands,
) error {
	member := string(d.Key) + " " + string(d.Member)
	if rows[member] == nil {
		rows[member] = make(map[string]bool)
	}
	before := len(rows[member])
	if d.Begins {
		rows[member][string(d.Row)] = true
	} else {
		delete(rows[member], string(d.Row))
	}
	switch after := len(rows[member]); {
	case before == 0 && after > 0:
		out.Append([]byte("SADD"), d.Key, d.Member)
	case before > 0 && after == 0:
		out.Append([]byte("SREM"), d.Key, d.Member)
	}
	return nil
}
