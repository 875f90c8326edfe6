package ddl_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// create returns the schema that a CREATE TABLE makes.
func create(t *testing.T, sql string, o ddl.Options) *ddl.Schema {
	t.Helper()
	o.Database = database
	s := ddl.Parse(sql, o)
	effects, err := s.Apply(newCatalog())
	if err != nil || len(effects) != 1 {
		t.Fatalf("%s: %+v, %v", sql, effects, err)
	}
	return effects[0].Schema
}

// Servers of other versions than the tests run with print types in other ways.
func TestVersions(t *testing.T) {
	mysql57 := ddl.Options{Version: 50744}
	mysql8018 := ddl.Options{Version: 80018}
	mysql8036 := ddl.Options{Version: 80036}
	mariaDB105 := ddl.Options{Version: 100527, MariaDB: true}
	mariaDB11 := ddl.Options{Version: 110402, MariaDB: true}
	implicit := mysql8036
	implicit.Timestamps = ddl.TimestampsImplicit
	maxDB := mysql57
	maxDB.SQLMode = ddl.ModeMaxDB
	for _, c := range []struct {
		options  ddl.Options
		column   string
		sqlType  string
		charset  string
		nullable bool
	}{
		{mysql57, "int", "int(11)", "", true},
		{mysql8018, "int unsigned", "int(10) unsigned", "", true},
		{mysql8036, "int(11)", "int", "", true},
		{mysql8036, "tinyint(1)", "tinyint(1)", "", true},
		{mysql57, "year", "year(4)", "", true},
		{mysql57, "year(2)", "year(4)", "", true},
		{mysql8036, "year(4)", "year", "", true},
		{mysql57, "geometrycollection", "geometrycollection", "", true},
		{mysql8036, "geometrycollection", "geomcollection", "", true},
		{mysql57, "nchar(3)", "char(3)", "utf8", true},
		{mysql8036, "nchar(3)", "char(3)", "utf8mb3", true},
		{mariaDB105, "varchar(3) charset utf8mb3", "varchar(3)", "utf8", true},
		{mariaDB11, "varchar(3) charset utf8", "varchar(3)", "utf8mb3", true},
		{mysql57, "timestamp", "timestamp", "", false},
		{mysql8036, "timestamp", "timestamp", "", true},
		{implicit, "timestamp", "timestamp", "", false},
		{implicit, "timestamp null", "timestamp", "", true},
		{mariaDB105, "timestamp(3)", "timestamp(3)", "", false},
		{mariaDB11, "timestamp(3)", "timestamp(3)", "", true},
		{maxDB, "timestamp", "datetime", "", true},
		{mariaDB105, "json", "longtext", "utf8mb4", true},
		{mysql57, "json", "json", "", true},
		{ddl.Options{}, "int(11)", "int", "", true},
		{mariaDB11, "vector(3)", "vector(3)", "", true},
	} {
		got := create(t, "CREATE TABLE t (c "+c.column+")", c.options).Columns[0]
		if got.SQLType != c.sqlType || got.Charset != c.charset || got.Nullable != c.nullable {
			t.Errorf("%s of %d is %s, %q, nullable %t; want %s, %q, %t", c.column,
				c.options.Version, got.SQLType, got.Charset, got.Nullable, c.sqlType, c.charset,
				c.nullable)
		}
	}
}

// With lower_case_table_names=1, names are stored in lower case.
func TestLowerCaseNames(t *testing.T) {
	s := ddl.Parse("RENAME TABLE A.B TO C", ddl.Options{Database: "D", LowerCaseNames: 1})
	want := []ddl.TableName{{Database: "a", Table: "b"}, {Database: "d", Table: "c"}}
	if !slices.Equal(s.Tables, want) {
		t.Errorf("tables are %v, want %v", s.Tables, want)
	}
	if s := ddl.Parse("DROP DATABASE D", ddl.Options{LowerCaseNames: 1}); s.Database != "d" {
		t.Errorf("database is %q", s.Database)
	}
	if s := ddl.Parse("DROP TABLE t", ddl.Options{}); s.Action != ddl.Unknown {
		t.Errorf("a table without a database is accepted: %+v", s)
	}
	if s := ddl.Parse("DROP TABLE a.\xff", ddl.Options{}); s.Action != ddl.Unknown {
		t.Errorf("a name that is not UTF-8 is accepted: %+v", s)
	}
}

// A statement names its objects, its tables and the columns that it renames.
func TestStatementFields(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE DEFINER=a@b VIEW v AS SELECT 1": "VIEW [corpus.v]",
		"DROP VIEW IF EXISTS x.v, w":            "VIEW [x.v corpus.w]",
		"CREATE SEQUENCE s START WITH 5":        "SEQUENCE [corpus.s]",
		"DROP TEMPORARY TABLE a, x.b":           " [corpus.a x.b]",
		"GRANT SELECT ON a TO b":                "GRANT []",
		"CREATE UNIQUE INDEX i ON x.t (a)":      " [x.t]",
		"TRUNCATE t":                            " [corpus.t]",
	} {
		s := ddl.Parse(sql, ddl.Options{Database: database})
		names := []string{}
		for _, n := range s.Tables {
			names = append(names, n.String())
		}
		if got := s.Object + " [" + strings.Join(names, " ") + "]"; got != want {
			t.Errorf("%s is %s, want %s", sql, got, want)
		}
	}
	c := newCatalog()
	for _, sql := range []string{
		"CREATE TABLE t (a int, b int, c int)",
		"ALTER TABLE t CHANGE a x int, RENAME COLUMN b TO a",
	} {
		effects, err := c.apply(ddl.Parse(sql, ddl.Options{Database: database}))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"x": "a", "a": "b"}
		if renamed := effects[0].Renamed; renamed != nil && !reflect.DeepEqual(renamed, want) {
			t.Errorf("renamed columns are %v, want %v", renamed, want)
		}
	}
}

// An unknown statement mentions a table in whatever way its name is written.
func TestMentions(t *testing.T) {
	for sql, want := range map[string]bool{
		"NONSENSE t":                 true,
		"NONSENSE corpus.t":          true,
		"NONSENSE `corpus`.`t`":      true,
		`NONSENSE "t"`:               true,
		"NONSENSE 't'":               true,
		"NONSENSE other.t":           true, // a column of a table named other
		"NONSENSE t.c":               true,
		"NONSENSE tt":                false,
		"NONSENSE x /* t */":         false,
		"NONSENSE x /*!99999 t */":   true,
		"NONSENSE x /*M!999999 t */": true,
		"NONSENSE x -- t":            false,
		"NONSENSE 'x":                true, // the end is missing
		"NONSENSE":                   false,
	} {
		s := ddl.Parse(sql, ddl.Options{Database: database, Version: 80036})
		got := s.Mentions(func(n ddl.TableName) bool {
			return n == ddl.TableName{Database: database, Table: "t"}
		})
		if s.Action != ddl.Unknown || got != want {
			t.Errorf("%s (%s): mentions the table: %t, want %t", sql, s.Action, got, want)
		}
	}
}

// A schema that was made from a binlog.Table gives the same table, and rejects what it cannot know.
func TestPartial(t *testing.T) {
	full := create(t, "CREATE TABLE t (id int PRIMARY KEY, a varchar(10), b enum('x','y'), "+
		"c int AS (id) STORED, u int NOT NULL UNIQUE, d decimal(5,2) unsigned)", ddl.Options{})
	table := full.Table()
	partial := ddl.FromTable(table)
	if got := partial.Table(); !reflect.DeepEqual(got, table) {
		t.Errorf("table is\n%+v, want\n%+v", got, table)
	}
	b, err := json.Marshal(partial)
	if err != nil {
		t.Fatal(err)
	}
	var again ddl.Schema
	if err := json.Unmarshal(b, &again); err != nil || !again.Partial ||
		!reflect.DeepEqual(again.Table(), table) {
		t.Errorf("stored schema is %+v, %v", again, err)
	}
	for sql, want := range map[string]string{
		"ALTER TABLE t ADD x int":                       "columns",
		"ALTER TABLE t ADD x varchar(3) CHARSET latin1": "columns",
		// The character set is the table's default, which is not known.
		"ALTER TABLE t ADD x varchar(3)":                        "unclear",
		"ALTER TABLE t DROP a, MODIFY d decimal(7,2) unsigned":  "columns",
		"ALTER TABLE t MODIFY c int AS (id) STORED":             "values",
		"ALTER TABLE t DROP INDEX u":                            "unclear",
		"ALTER TABLE t RENAME INDEX u TO v":                     "unclear",
		"ALTER TABLE t DROP PRIMARY KEY":                        "none+key",
		"ALTER TABLE t ADD UNIQUE (id)":                         "unclear",
		"ALTER TABLE t ADD INDEX (a)":                           "none",
		"ALTER TABLE t DROP CONSTRAINT x":                       "unclear",
		"ALTER TABLE t MODIFY b enum('x','y','z') CHARSET utf8": "values",
	} {
		c := newCatalog()
		c.tables[full.TableName()] = partial
		s := ddl.Parse(sql, ddl.Options{Database: database, SQLMode: ddl.ModeStrictTransTables})
		effects, err := c.apply(s)
		if got := describe(s, effects, err); got != want {
			t.Errorf("%s: got %s, want %s: %v", sql, got, want, err)
		}
	}
}

// The character set of a database decides about columns without one.
func TestDatabaseCharset(t *testing.T) {
	c := newCatalog()
	o := ddl.Options{Database: database, Server: ddl.Charset{Name: "latin1"}}
	for _, step := range []struct{ sql, charset string }{
		{"CREATE DATABASE d", "latin1"},
		{"ALTER DATABASE d CHARACTER SET utf8mb4", "utf8mb4"},
		{"ALTER DATABASE d COLLATE latin2_bin", "latin2"},
		{"CREATE DATABASE e COLLATE utf8_bin", "utf8mb3"},
		{"ALTER DATABASE e CHARACTER SET DEFAULT", "latin1"},
	} {
		s := ddl.Parse(step.sql, o)
		if _, err := c.apply(s); err != nil {
			t.Fatalf("%s: %v", step.sql, err)
		}
		if got := c.databases[s.Database].Name; got != step.charset {
			t.Errorf("%s: character set is %s, want %s", step.sql, got, step.charset)
		}
	}
	if _, err := c.apply(ddl.Parse("CREATE TABLE d.t (a char(3))", o)); err != nil {
		t.Fatal(err)
	}
	got := c.tables[ddl.TableName{Database: "d", Table: "t"}].Columns[0]
	if got.Charset != "latin2" || got.Collation != "latin2_bin" {
		t.Errorf("column is %+v", got)
	}
}

// Statements that nobody needs to read cost no time, and long ones are rejected.
func TestLongStatements(t *testing.T) {
	body := strings.Repeat("SELECT 'x', \"y\", `z` /* c */ FROM t WHERE (a = 1);\n", 16<<20/50)
	for sql, want := range map[string]ddl.Action{
		"CREATE PROCEDURE p() BEGIN " + body + " END":           ddl.Other,
		"CREATE DEFINER=`a`@`b` TRIGGER t " + body:              ddl.Other,
		"/* " + strings.Repeat("x", 1<<19) + " */ DROP TABLE a": ddl.DropTable,
		"ALTER TABLE t ADD b int COMMENT '" + body:              ddl.Unknown,
		"CREATE TABLE t (" + body:                               ddl.Unknown,
		strings.Repeat("(", 1<<20) + "x":                        ddl.Unknown,
		"CREATE TABLE t (a int DEFAULT " + strings.Repeat("(", 1<<19) + "1" +
			strings.Repeat(")", 1<<19-100) + ")": ddl.Unknown,
		"CREATE TABLE t (a int DEFAULT " + strings.Repeat("(", 1<<18) + "1" +
			strings.Repeat(")", 1<<18) + ")": ddl.CreateTable,
		"CREATE TABLE t (a int" + strings.Repeat(", b int", 1<<16) + ")": ddl.Unknown,
		"CREATE TABLE t (a int" + strings.Repeat(", b int", 1<<12) + ")": ddl.CreateTable,
	} {
		start := time.Now()
		s := ddl.Parse(sql, ddl.Options{Database: database})
		if s.Action != want {
			t.Errorf("%.60s... is %s, want %s: %s", sql, s.Action, want, s.Reason)
		}
		t.Logf("%.40s: %v", sql, time.Since(start))
	}
}

// A value that a strict session would reject is changed by another session.
func TestReasons(t *testing.T) {
	c := newCatalog()
	for _, step := range []struct{ sql, reason string }{
		{"CREATE TABLE t (a int, b int)", "CREATE TABLE"},
		{"ALTER TABLE t DROP a", "column a is dropped"},
		{
			"ALTER TABLE t MODIFY b bigint unsigned",
			"column b: its type changes from int to bigint unsigned",
		},
		{"ALTER TABLE t ADD c int NOT NULL", "added column c is NOT NULL"},
		{"ALTER TABLE t DROP PARTITION p", "DROP PARTITION"},
		{"TRUNCATE t", "TRUNCATE"},
	} {
		effects, err := c.apply(ddl.Parse(step.sql, ddl.Options{Database: database}))
		if err != nil || len(effects) != 1 || effects[0].Reason != step.reason {
			t.Errorf("%s: %+v, %v; want reason %q", step.sql, effects, err, step.reason)
		}
	}
}

// The fields that follow from a column's type are those that a reader of information_schema sets.
func TestColumnFields(t *testing.T) {
	s := create(t, "CREATE TABLE t (a decimal(7,3) unsigned, b set('x','y') CHARSET latin1, "+
		"c datetime(2) NOT NULL, d binary(8), e bit(5))", ddl.Options{Version: 80036})
	want := []binlog.Column{
		{
			Name: "a", SQLType: "decimal(7,3) unsigned", Type: binlog.TypeDecimal, Unsigned: true,
			Nullable: true, Length: 7, Decimals: 3,
		},
		{
			Name: "b", SQLType: "set('x','y')", Type: binlog.TypeSet, Nullable: true,
			Charset: "latin1", Values: []string{"x", "y"},
		},
		{Name: "c", SQLType: "datetime(2)", Type: binlog.TypeDatetime, Decimals: 2},
		{Name: "d", SQLType: "binary(8)", Type: binlog.TypeBinary, Nullable: true, Length: 8},
		{Name: "e", SQLType: "bit(5)", Type: binlog.TypeBit, Nullable: true, Length: 5},
	}
	if got := s.Table().Columns; !reflect.DeepEqual(got, want) {
		t.Errorf("columns are\n%+v, want\n%+v", got, want)
	}
}
