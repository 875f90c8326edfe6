package pipelines_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"rowfall/pipelines"
)

// A misspelled name would leave data unprotected. A missing column stops the pipeline; a missing
// table is retried. Correct names pass.
func testMisspelt(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT NOT NULL, v INT NOT NULL, secret INT, PRIMARY KEY (id))",
		"INSERT INTO t VALUES (1, 1, 5)")
	m := newMemory()
	start(t, d.config(`.*": {}`, `.*": {columns: {exclude: [secrt]}}`), m, "").
		mustStop("test.yaml:6: tables.", `.columns.exclude: no table that matches`,
			`has a column "secrt"; did you mean "secret"?`)
	c := d.config(
		`.*": {}`,
		`.*": {columns: {exclude: [secret]}}`+"\n  "+d.name+
			`.tt: {key_columns: [id], columns: {include: [id, v], add: {double: v * 2}}}`,
	)
	r := start(t, c, m, "")
	waitFor(t, "it fails", r.over)
	if errors.As(r.err, new(*pipelines.StopError)) ||
		!strings.Contains(r.err.Error(), `no table `+d.name+`.tt; did you mean "`+d.name+`.t"?`) {
		t.Errorf("ended with %v", r.err)
	}
	d.exec("CREATE TABLE tt LIKE t", "INSERT INTO tt VALUES (1, 4, 6)")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("UPDATE tt SET v = 5")
	m.waitAt(t, d.end())
	for key, want := range map[string]map[string]string{
		"t:1":  {"id": "1", "v": "1"},
		"tt:1": {"id": "1", "v": "5", "double": "10"},
	} {
		if got, _ := m.Keys.HashFields(key); !maps.Equal(got, want) {
			t.Errorf("%s holds %v, want %v", key, got, want)
		}
	}
}

// A database whose name contains a dot can be named, and the hint shows how. A user with the
// fewest grants can follow it.
func testDottedDatabase(t *testing.T, d *database) {
	d.exec(
		"CREATE DATABASE `bb.dot`",
		"CREATE TABLE `bb.dot`.t (id INT PRIMARY KEY, v INT)",
		"INSERT INTO `bb.dot`.t VALUES (1, 1)",
		"CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (5, 5)",
		"CREATE USER dotted",
		"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO dotted",
		"GRANT SELECT ON `bb.dot`.* TO dotted",
	)
	defer d.exec("DROP DATABASE `bb.dot`", "DROP USER dotted")
	r := start(t, d.config("  \""+d.name+".*\": {}", "  \""+d.name+".*\": {}\n  bb.dot.t: {}"),
		newMemory(), "")
	waitFor(t, "it fails", r.over)
	want := "test.yaml:7: tables.\"bb.dot.t\": the server has no table bb.dot.t; " +
		"did you mean \"`bb.dot`.t\"?"
	if r.err.Error() != want {
		t.Errorf("ended with\n%v, want\n%s", r.err, want)
	}
	m := newMemory()
	start(t, d.config("\""+d.name+".*\"", "\"`bb.dot`.t\"", "user: rowfall", "user: dotted"), m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO `bb.dot`.t VALUES (2, 2)", "INSERT INTO t VALUES (6, 6)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("`bb.dot`.t"))
}

// Faults that only the tables' columns reveal are reported for all tables in one run.
func testEveryFault(t *testing.T, d *database) {
	d.exec("CREATE TABLE a (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE b (id INT PRIMARY KEY, v INT)")
	start(
		t,
		d.config("  \""+d.name+".*\": {}", "  "+d.name+
			".a: {where: w == 1, columns: {exclude: [x]}}\n  "+d.name+".b: {where: id}"),
		newMemory(), "",
	).mustStop(
		"test.yaml:6: tables.\""+d.name+".a\".columns.exclude: "+d.name+`.a has no column "x"`,
		"\ntest.yaml:6: tables.\""+d.name+".a\".where: ",
		"\ntest.yaml:7: tables.\""+d.name+".b\".where: ",
	)
}
