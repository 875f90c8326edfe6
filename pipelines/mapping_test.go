package pipelines_test

import (
	"strings"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
)

// A table that a wildcard passes over by its name is listed as unmapped.
func testPassedOver(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE _t_new (id INT PRIMARY KEY, v INT)", "CREATE TABLE no_key (v INT)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	listed := func() string {
		var all []string
		for _, table := range r.pipeline.Stats().Unmapped {
			all = append(
				all,
				strings.TrimPrefix(table.Table, d.name+".")+": "+strings.Join(
					strings.Fields(table.Reason)[:4], " ",
				),
			)
		}
		return strings.Join(all, "\n")
	}
	waitFor(t, "both are listed", func() bool {
		return listed() == "_t_new: its name matches _*_new,\nno_key: it has no primary"
	})
	d.exec("CREATE TABLE _t_gho (id INT PRIMARY KEY, v INT)", "DROP TABLE _t_new",
		"INSERT INTO t VALUES (1, 1)", "INSERT INTO _t_gho VALUES (1, 1)")
	m.waitAt(t, d.end())
	if got := listed(); got != "_t_gho: its name matches _*_gho,\nno_key: it has no primary" {
		t.Errorf("listed are\n%s", got)
	}
	r.kill()
	d.exec("INSERT INTO _t_gho VALUES (2, 2)")
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	mustBeEqual(t, m.rows("_t_gho"), nil)
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
	if want := "test.yaml:7: tables.\"bb.dot.t\": the server has no table bb.dot.t; did you mean \"`bb.dot`.t\"?"; r.err.Error() != want {
		t.Errorf("ended with\n%v, want\n%s", r.err, want)
	}
	m := newMemory()
	start(t, d.config("\""+d.name+".*\"", "\"`bb.dot`.t\"", "user: root", "user: dotted"), m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO `bb.dot`.t VALUES (2, 2)", "INSERT INTO t VALUES (6, 6)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("`bb.dot`.t"))
}

// Data of a version that stored only the mapping's fingerprint are resumed, and get the canonical
// form.
func testOlderState(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	m.set(t, resp.AppendCommand(nil, "HDEL", sink.StateKey("test"), "meaning", "crc32c:meaning"))
	other := d.config(".*\": {}", ".*\": {where: v > 0}")
	start(
		t, other, m, "",
	).mustStop("test.yaml: the data was built with another mapping than this file's; put the old mapping back")
	r = start(t, d.config(), m, "")
	d.exec("INSERT INTO t VALUES (2, 2)")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	start(
		t, other, m, "",
	).mustStop("test.yaml:6: tables.\"" + d.name + ".*\".where: the data was built with another mapping than this file's, which does not have this")
}

// Faults that only the tables' columns reveal are reported for all tables in one run.
func testEveryFault(t *testing.T, d *database) {
	d.exec("CREATE TABLE a (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE b (id INT PRIMARY KEY, v INT)")
	start(
		t,
		d.config("  \""+d.name+".*\": {}", "  "+d.name+".a: {where: w == 1, columns: {exclude: [x]}}\n  "+d.name+".b: {where: id}"),
		newMemory(), "",
	).mustStop(
		"test.yaml:6: tables.\""+d.name+".a\".columns.exclude: "+d.name+`.a has no column "x"`, "\ntest.yaml:6: tables.\""+d.name+".a\".where: ", "\ntest.yaml:7: tables.\""+d.name+".b\".where: ")
}
