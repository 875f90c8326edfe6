package ddl_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog/ddl"
)

// section is a sequence of statements of a corpus file that starts with an empty database.
type section struct {
	place      string // file:line
	mysql      bool
	mariaDB    bool
	offline    bool // not for servers
	mode       []string
	statements []statement
}

// statement is one statement with what it is expected to do.
type statement struct {
	place  string
	expect string
	sql    string
}

// database is the default database of the corpus.
const database = "corpus"

// readCorpus reads the files of testdata/corpus. A line in brackets begins a section: [both],
// [mysql mode=ANSI_QUOTES] or [mariadb offline]. Every other line is "expectation: statement", in
// which ⏎ stands for a line feed.
func readCorpus(tb testing.TB) []section {
	tb.Helper()
	files, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("%d corpus files, %v", len(files), err)
	}
	var sections []section
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSpace(line)
			place := fmt.Sprintf("%s:%d", filepath.Base(file), number)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if header, found := strings.CutPrefix(line, "["); found {
				sections = append(sections, newSection(tb, place, strings.TrimSuffix(header, "]")))
				continue
			}
			expect, sql, found := strings.Cut(line, ": ")
			if !found || len(sections) == 0 {
				tb.Fatalf("%s: no expectation", place)
			}
			sql = strings.ReplaceAll(sql, "⏎", "\n")
			last := &sections[len(sections)-1]
			last.statements = append(last.statements, statement{place, expect, sql})
		}
	}
	return sections
}

func newSection(tb testing.TB, place, header string) section {
	tb.Helper()
	s := section{place: place, mode: []string{"STRICT_TRANS_TABLES"}}
	for word := range strings.FieldsSeq(header) {
		switch value, isMode := strings.CutPrefix(word, "mode="); {
		case isMode:
			s.mode = slices.DeleteFunc(strings.Split(value, ","),
				func(m string) bool { return m == "" })
		case word == "both":
			s.mysql, s.mariaDB = true, true
		case word == "offline":
			s.offline = true
		case word == "mysql":
			s.mysql = true
		case word == "mariadb":
			s.mariaDB = true
		default:
			tb.Fatalf("%s: unknown word %q", place, word)
		}
	}
	return s
}

var modes = map[string]ddl.SQLMode{
	"REAL_AS_FLOAT": ddl.ModeRealAsFloat, "ANSI_QUOTES": ddl.ModeANSIQuotes,
	"NO_BACKSLASH_ESCAPES": ddl.ModeNoBackslashEscapes, "ORACLE": ddl.ModeOracle,
	"STRICT_TRANS_TABLES": ddl.ModeStrictTransTables,
	"STRICT_ALL_TABLES":   ddl.ModeStrictAllTables,
}

func (s *section) options(mariaDB bool, version int) ddl.Options {
	o := ddl.Options{
		MariaDB: mariaDB, Version: version, Database: database,
		Server: ddl.Charset{Name: "utf8mb4", Collation: "utf8mb4_general_ci"},
	}
	for _, m := range s.mode {
		o.SQLMode |= modes[m]
	}
	return o
}

// catalog holds the schemas of a section.
type catalog struct {
	tables    map[ddl.TableName]*ddl.Schema
	databases map[string]ddl.Charset
}

func newCatalog() *catalog {
	return &catalog{
		tables: map[ddl.TableName]*ddl.Schema{},
		databases: map[string]ddl.Charset{
			database: {Name: "utf8mb4", Collation: "utf8mb4_general_ci"},
		},
	}
}

func (c *catalog) Table(name ddl.TableName) *ddl.Schema { return c.tables[name] }

func (c *catalog) Tables(database string) []ddl.TableName {
	var names []ddl.TableName
	for name := range c.tables {
		if name.Database == database {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b ddl.TableName) int {
		return strings.Compare(a.Table, b.Table)
	})
	return names
}

func (c *catalog) Database(name string) (ddl.Charset, bool) {
	cs, ok := c.databases[name]
	return cs, ok
}

// apply applies a statement to the catalog.
func (c *catalog) apply(s *ddl.Statement) ([]ddl.Effect, error) {
	effects, err := s.Apply(c)
	if err != nil {
		return nil, err
	}
	for _, e := range effects {
		if e.Schema == nil {
			delete(c.tables, e.Table)
		} else {
			c.tables[e.Table] = e.Schema
		}
	}
	switch s.Action {
	case ddl.CreateDatabase, ddl.AlterDatabase:
		cs, err := s.DatabaseCharset(c.databases[s.Database])
		if err != nil {
			return nil, err
		}
		c.databases[s.Database] = cs
	case ddl.DropDatabase:
		delete(c.databases, s.Database)
	}
	return effects, nil
}

var classCodes = map[ddl.Class]string{
	ddl.NoVisibleChange: "none", ddl.ColumnsChanged: "columns", ddl.ValuesChanged: "values",
	ddl.RowsRemoved: "rows", ddl.TableGone: "gone", ddl.TableNew: "new",
}

// describe returns a statement's action, or its effects, as a corpus file expects it.
func describe(s *ddl.Statement, effects []ddl.Effect, err error) string {
	switch {
	case s.Action == ddl.Unknown:
		return "unknown"
	case err != nil:
		return "unclear"
	case s.Action == ddl.Other:
		return "other"
	case s.Action == ddl.CreateDatabase, s.Action == ddl.AlterDatabase:
		return "database"
	case len(effects) == 0:
		return "-"
	}
	var words []string
	for _, e := range effects {
		word := classCodes[e.Class]
		if e.KeyChanged {
			word += "+key"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestCorpus(t *testing.T) {
	n := 0
	for _, section := range readCorpus(t) {
		for _, mariaDB := range []bool{false, true} {
			if mariaDB && !section.mariaDB || !mariaDB && !section.mysql {
				continue
			}
			version := 90700
			if mariaDB {
				version = 110800
			}
			c := newCatalog()
			for _, line := range section.statements {
				n++
				s := ddl.Parse(line.sql, section.options(mariaDB, version))
				effects, err := c.apply(s)
				if got := describe(s, effects, err); got != line.expect {
					t.Errorf("%s (MariaDB %t): got %s, want %s: %s\n%+v; %v %s",
						line.place, mariaDB, got, line.expect, line.sql, effects, err, s.Reason)
				}
				for _, e := range effects {
					if e.Schema != nil {
						checkJSON(t, e.Schema)
					}
				}
			}
		}
	}
	t.Logf("%d statements", n)
}

// checkJSON requires that a schema is the same after it was stored.
func checkJSON(t *testing.T, s *ddl.Schema) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again ddl.Schema
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	twice, err := json.Marshal(&again)
	if err != nil || string(twice) != string(b) || !reflect.DeepEqual(s.Table(), again.Table()) {
		t.Fatalf("stored schema differs:\n%+v\n%+v\n%s", s, again, b)
	}
}
