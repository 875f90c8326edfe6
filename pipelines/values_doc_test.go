package pipelines_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/internal/typetest"
	"rowfall/pipelines/file/filetest"
	"rowfall/transform"
)

const valuesPage = "../docs/values.md"

// pageRows returns the rows of the table below a heading of docs/values.md, without its header.
func pageRows(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(valuesPage)
	must(t, err)
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the page has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "| "); ok {
			rows = append(rows, strings.Split(strings.TrimSuffix(inner, " |"), " | "))
		}
	}
	return rows[1:]
}

// backquoted returns the texts in backquotes.
func backquoted(text string) (names []string) {
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			names = append(names, part)
		}
	}
	return names
}

// The page has every column type, and says of each what the product does: which values are numbers
// in JSON, which columns can be keys, and which can be scores.
func TestValuesPage(t *testing.T) {
	described := make(map[string]bool)
	for _, row := range pageRows(t, "Types") {
		if len(row) != 5 {
			t.Errorf("%q has %d cells", row, len(row))
			continue
		}
		for _, name := range backquoted(row[0]) {
			name = strings.ToLower(name)
			kind := binlog.TypeByName(name)
			if kind == binlog.TypeInvalid || described[name] {
				t.Errorf("the page has the type %s, which is not known or twice in the page", name)
			}
			described[name] = true
			column := binlog.Column{Name: "c", SQLType: name, Type: kind, Charset: "utf8mb4"}
			if got, want := jsonForm(t, column), row[2]; !strings.HasPrefix(want, got) {
				t.Errorf("%s in JSON is %s; the page says %s", name, got, want)
			}
			if got := keyForm(column); got != row[3] {
				t.Errorf("%s as a key column: %s; the page says %s", name, got, row[3])
			}
			if got := scoreForm(t, column); got != row[4] {
				t.Errorf("%s as a score: %s; the page says %s", name, got, row[4])
			}
		}
	}
	for _, kind := range binlog.Types() {
		for _, name := range kind.Names() {
			if !described[name] {
				t.Errorf("the page lacks the type %s", name)
			}
		}
	}
}

// jsonForm returns the word of the page for the JSON of a column's values.
func jsonForm(t *testing.T, c binlog.Column) string {
	table := &binlog.Table{Database: "d", Name: "t", Columns: []binlog.Column{c}}
	var r binlog.Row
	r.SetText(binlog.NewTextLayout(table), [][]byte{[]byte("0001")}) // a vector's value has 4 bytes
	got, err := r.AppendJSON(nil, 0)
	must(t, err)
	switch text := string(got); {
	case text == `["0001"]`:
		return "array of strings"
	case text == `"MDAwMQ=="`:
		return "base64"
	case got[0] == '"':
		return "string"
	case c.Value() == binlog.ValueText:
		return "embedded"
	}
	return "number"
}

// keyForm returns the word of the page for a column of a table without other keys.
func keyForm(c binlog.Column) string {
	table := &binlog.Table{Database: "d", Name: "t", Columns: []binlog.Column{c}}
	if err := query.CheckKey(table, []int{0}); err != nil {
		return "no"
	}
	return "yes"
}

// scoreForm returns the words of the page for a sorted set whose score is the column.
func scoreForm(t *testing.T, c binlog.Column) string {
	table := &binlog.Table{
		Database: "d", Name: "t", Primary: []int{0},
		Columns: []binlog.Column{{Name: "id", SQLType: "int", Type: binlog.TypeInt}, c},
	}
	config := filetest.Parse(t, "test.yaml", `pipeline: test
source: {mysql: {addresses: ["127.0.0.1:1"], user: u}}
tables: {d.t: {write: [{sorted_set: s, member: "{id}", score: c}]}}
sink: {node: {listen: "127.0.0.1:0", dir: x}}
`)
	switch _, err := transform.Compile(&config.Mapping, table); {
	case err != nil && strings.Contains(err.Error(), "score"):
		return "no"
	case err != nil:
		t.Fatal(err)
	case c.Value() == binlog.ValueMoment:
		return "seconds since 1970"
	}
	return "number"
}

// pageExample is a row of the page's examples. Its column is c0 of a table doc0, doc1, ...
type pageExample struct {
	table             *typeTable
	text, json, score string
}

// createExamples makes a table with one row for each example of the page that the server has.
func (m *typeMatrix) createExamples() {
	for i, row := range pageRows(m.t, "Examples") {
		server := m.d.conn.Server()
		only, isOfOne := "", strings.HasSuffix(row[0], ")") && !strings.HasSuffix(row[0], "`")
		if isOfOne {
			_, only, _ = strings.Cut(strings.TrimSuffix(row[0], ")"), "` (")
		}
		flavor := map[bool]string{true: "MariaDB", false: "MySQL"}[m.isMariaDB]
		if isOfOne && only != flavor || strings.Contains(row[0], "VECTOR") &&
			!server.AtLeast(9, 0, 0) {
			continue
		}
		cell := func(n int) string {
			if quoted := backquoted(row[n]); len(quoted) == 1 {
				return quoted[0]
			}
			if row[n] != "none" && row[n] != "empty" {
				m.t.Fatalf("example %q: %q is not in backquotes", row, row[n])
			}
			return ""
		}
		text := cell(2)
		if inner, ok := strings.CutPrefix(text, "x'"); ok {
			b, err := hex.DecodeString(strings.TrimSuffix(inner, "'"))
			must(m.t, err)
			text = string(b)
		}
		column := typetest.Column{SQL: cell(0), Values: []string{cell(1)}}
		table := &typeTable{name: fmt.Sprint("doc", i), columns: []typetest.Column{column}, rows: 1}
		m.d.exec("CREATE TABLE " + table.name + " (id INT UNSIGNED NOT NULL PRIMARY KEY, c0 " +
			column.SQL + ")")
		table.schema = m.describe(table.name)
		m.tables = append(m.tables, table)
		m.examples = append(m.examples, pageExample{table, text, cell(3), cell(4)})
	}
}

// exampleEntries returns the entries of the examples' tables in the pipeline file.
func (m *typeMatrix) exampleEntries() (entries string) {
	for _, e := range m.examples {
		score := ""
		if e.score != "" || e.table.schema.Columns[1].Value() == binlog.ValueMoment {
			score = `, {sorted_set: "s:{table}", member: "{id}", score: c0, when_null: skip}`
		}
		entries += fmt.Sprintf("  %q: {write: [{hash: %q}, {json: %q}%s]}\n",
			m.d.name+"."+e.table.name, "{table}:{pk...}", "j:{table}:{pk...}", score)
	}
	return entries
}

// compareExamples compares the row of each example with the page.
func (m *typeMatrix) compareExamples(replica *redis.Client) {
	ctx := m.t.Context()
	for _, e := range m.examples {
		key := e.table.name + ":0"
		sql := e.table.columns[0].SQL
		text, err := replica.HGet(ctx, key, "c0").Result()
		if err != nil || text != e.text {
			m.t.Errorf("example %s: the text is %q, %v; the page has %q", sql, text, err, e.text)
		}
		if got, want := replica.Get(ctx, "j:"+key).Val(), `{"id":0,"c0":`+e.json+`}`; got != want {
			m.t.Errorf("example %s: the JSON is %s; the page has %s", sql, got, want)
		}
		score, err := replica.ZScore(ctx, "s:"+e.table.name, "0").Result()
		want, _ := strconv.ParseFloat(e.score, 64)
		if (err == nil) != (e.score != "") || score != want {
			m.t.Errorf("example %s: the score is %v, %v; the page has %q", sql, score, err, e.score)
		}
	}
}
