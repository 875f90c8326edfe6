package pipelines_test

import (
	"fmt"
	"strings"
	"testing"
)

// Unmapped tables are still known after a restart.
func testUnmapped(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE no_key (v INT)")
	m := newMemory()
	for i := range 3 {
		r := start(t, d.config(), m, "")
		d.exec(fmt.Sprintf("INSERT INTO no_key VALUES (%d)", i),
			fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", i))
		m.waitAt(t, d.end())
		r.kill()
	}
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A table that a wildcard passes over by its name is listed as unmapped.
func testSkipped(t *testing.T, d *database) {
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
