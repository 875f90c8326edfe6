package pipelines_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog/mysql"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

const schemaChangesPage = "../docs/schema-changes.md"

// documentedStatement is a row of a table of docs/schema-changes.md whose first cell is a
// statement.
type documentedStatement struct {
	sql string
	// class is the second cell, without a remark in parentheses.
	class string
	// flavor is the only server that the row is about; empty for both.
	flavor string
}

var (
	statementRow = regexp.MustCompile("^\\| `([A-Z].*?)` " +
		`\| ([a-z, ]+?)(?: \([a-z ]+\))? \| (.*) ?\|$`)
	onlyFlavor = regexp.MustCompile(`(MySQL|MariaDB) only`)
)

// readSchemaChangesPage returns the statements that create the tables of the examples, and the rows
// of the page.
func readSchemaChangesPage(t *testing.T) (setup []string, rows []documentedStatement) {
	t.Helper()
	text, err := os.ReadFile(schemaChangesPage)
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```sql\n")
	example, _, _ = strings.Cut(example, "```")
	for sql := range strings.SplitSeq(example, ";") {
		if sql = strings.TrimSpace(sql); sql != "" {
			setup = append(setup, sql)
		}
	}
	inTable := false
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "| statement | class |") {
			inTable = true
			continue
		}
		inTable = inTable && strings.HasPrefix(line, "|")
		if !inTable || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := statementRow.FindStringSubmatch(line)
		if cells == nil {
			t.Fatalf("%s: cannot read the row %s", schemaChangesPage, line)
		}
		row := documentedStatement{sql: cells[1], class: cells[2]}
		if only := onlyFlavor.FindStringSubmatch(cells[3]); only != nil {
			row.flavor = only[1]
		}
		rows = append(rows, row)
	}
	if len(setup) == 0 || len(rows) < 40 {
		t.Fatalf("%s has %d statements of setup and %d rows; want more", schemaChangesPage,
			len(setup), len(rows))
	}
	return setup, rows
}

// classLog collects the classes that a pipeline logs.
type classLog struct {
	mu      sync.Mutex
	classes []string
	text    bytes.Buffer
}

// Write takes lines of the log, each of them a JSON object.
func (c *classLog) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lines := bufio.NewScanner(bytes.NewReader(p)); lines.Scan(); {
		var line struct{ Message, Class string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		switch {
		case line.Class != "":
			c.classes = append(c.classes, line.Class)
		case strings.HasPrefix(line.Message, "the columns of a table are not known"):
			c.classes = append(c.classes, "not known")
		default:
			continue
		}
		c.text.Write(append(lines.Bytes(), '\n'))
	}
	return len(p), nil
}

// take returns the classes since the last call, each once, and the lines that had them.
func (c *classLog) take() (classes, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unique []string
	for _, class := range c.classes {
		if !slices.Contains(unique, class) {
			unique = append(unique, class)
		}
	}
	classes, text = strings.Join(unique, ", "), c.text.String()
	c.classes = nil
	c.text.Reset()
	if classes == "" {
		classes = "none"
	}
	return classes, text
}

// startLogged starts a pipeline that logs to c.
func startLogged(t *testing.T, config file.Config, s pipelines.Sink, c *classLog) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{
		t: t, cancel: cancel, ended: make(chan struct{}),
		pipeline: pipelines.New(config, s, "", zerolog.New(c)),
	}
	go func() {
		defer close(r.ended)
		r.err = r.pipeline.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

// Each statement of docs/schema-changes.md has the class that the page gives, and the data equal a
// rebuild after it.
func testSchemaChangesPage(t *testing.T, d *database) {
	setup, rows := readSchemaChangesPage(t)
	d.exec(setup...)
	m, log := newMemory(), new(classLog)
	c := d.config(`.*": {}`, `.*": {}`+"\n  "+d.name+".m: {columns: {exclude: [secret]}}")
	r := startLogged(t, c, m, log)
	m.waitAt(t, d.end())
	flavor := "MySQL"
	if d.conn.Server().Flavor == mysql.MariaDB {
		flavor = "MariaDB"
	}
	for _, row := range rows {
		if row.flavor != "" && row.flavor != flavor {
			continue
		}
		d.exec(row.sql)
		equal := c
		if strings.HasSuffix(row.sql, "DROP COLUMN secret") { // new data would miss the column
			equal = d.config()
		}
		r.mustEqual(d, &equal, m, row.sql)
		if classes, lines := log.take(); classes != row.class {
			t.Errorf("%s: the class is %q, and %s has %q; the log has\n%s", row.sql, classes,
				schemaChangesPage, row.class, lines)
		}
	}
}
