package pipelines_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rowfall/pipelines"
)

// droppedNames is a mapping with entries for single tables.
func (d *database) droppedNames() string {
	return `.*": {}` + strings.ReplaceAll(`
  NAME.u: {key_columns: [id]}
  NAME.k: {columns: {exclude: [n], mask: {mail: redact}, rename: {o: p}}}
  NAME.s: {on_drop: stop}`, "NAME", d.name)
}

// warns reports whether status has a warning for a table that contains text.
func (r *running) warns(table, text string) bool {
	return slices.ContainsFunc(r.pipeline.Stats().Warnings, func(w pipelines.TableWarning) bool {
		return strings.HasSuffix(w.Table, "."+table) && strings.Contains(w.Warning, text)
	})
}

// quarantined returns the tables that are in quarantine, without their database.
func (m *memory) quarantined(t *testing.T) (names []string) {
	t.Helper()
	var full []string
	if text := m.progress(t).Quarantined; text != "" {
		if err := json.Unmarshal([]byte(text), &full); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range full {
		_, table, _ := strings.Cut(name, ".")
		names = append(names, table)
	}
	return names
}

// A table with its own entry can be dropped, or renamed to another name: every later start goes
// on, status warns, and a table that is created with this name is followed.
func testDroppedTable(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u LIKE t",
		"CREATE TABLE s LIKE t", "CREATE TABLE k (id INT PRIMARY KEY, v INT, n INT, "+
			"mail VARCHAR(20), o INT)",
		"INSERT INTO u VALUES (1, 1)", "INSERT INTO s VALUES (1, 1)")
	m := newMemory()
	c := d.config(`.*": {}`, d.droppedNames())
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	goesOn := func(what, from string) {
		t.Helper()
		r.kill()
		r = start(t, c, m, from)
		waitFor(t, what+": status warns", func() bool {
			if r.over() {
				t.Fatalf("%s: the run has ended: %v", what, r.err)
			}
			return r.warns("u", ".u\": the table "+d.name+".u was dropped or renamed after ")
		})
		d.exec("REPLACE INTO t VALUES (1, 1), (2, 2)")
		r.waitAt(m, d.end())
		mustBeEqual(t, m.rows("u"), nil)
	}
	d.exec("DROP TABLE u")
	m.waitAt(t, d.end())
	goesOn("a DROP", "")
	goesOn("a DROP and a move", "now")
	goesOn("a DROP and a rebuild", "snapshot")
	d.exec("CREATE TABLE u LIKE t", "INSERT INTO u VALUES (7, 7)")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("u"), d.rows("u"))
	if r.warns("u", "") {
		t.Error("the warning stays after the CREATE")
	}
	d.exec("RENAME TABLE u TO _u_old")
	r.waitAt(m, d.end())
	goesOn("a RENAME", "")
	d.exec("RENAME TABLE _u_old TO u")
	r.mustEqual(d, &c, m, "a RENAME back")

	// Statements that are not in the binlog, while the pipeline is away.
	r.kill()
	d.exec("SET SESSION sql_log_bin=0", "DROP TABLE u, s", "SET SESSION sql_log_bin=1")
	r = start(t, c, m, "")
	waitFor(t, "the tables are known to be gone", func() bool {
		if r.over() {
			t.Fatalf("the run has ended: %v", r.err)
		}
		return r.warns("u", "was dropped") && slices.Equal(m.quarantined(t), []string{"s"})
	})
	mustBeEqual(t, m.rows("s"), map[string]string{"1": "1"})
	goesOn("a DROP that is not logged", "")

	// The first start of new data has no such table: its name is most likely misspelt.
	start(t, c, newMemory(), "").mustFail("the server has no table " + d.name + ".")
}

// A column that is only listed can be dropped. One that is excluded or masked is never written
// under another name.
func testDroppedColumns(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u LIKE t",
		"CREATE TABLE s LIKE t", "CREATE TABLE k (id INT PRIMARY KEY, v INT, n INT, "+
			"mail VARCHAR(20), o INT)", "INSERT INTO k VALUES (1, 1, 2, 'me', 3)")
	m := newMemory()
	c := d.config(`.*": {}`, d.droppedNames())
	r := start(t, c, m, "")
	follows := func(what string) {
		t.Helper()
		r.waitAt(m, d.end())
		waitFor(t, "no job is left after "+what, func() bool {
			p := m.progress(t)
			return p.Rebuilding == "" && p.Quarantined == ""
		})
		mustBeEqual(t, m.rows("k"), d.rows("k"))
	}
	follows("the start")
	d.exec("ALTER TABLE k DROP COLUMN n, DROP COLUMN o", "UPDATE k SET v = 2")
	follows("a DROP COLUMN")
	for _, from := range []string{"", "", "snapshot"} {
		for _, text := range []string{
			`no column "n" any more: it was dropped`,
			`no column "o" any more: it was dropped`,
		} {
			waitFor(t, "status warns of "+text, func() bool { return r.warns("k", text) })
		}
		r.kill()
		r = start(t, c, m, from)
		d.exec("UPDATE k SET v = v + 1")
		follows("a start")
	}
	d.exec("ALTER TABLE k RENAME COLUMN mail TO post", "UPDATE k SET v = 50, post = 'open'")
	isIn := func(what string) {
		t.Helper()
		r.waitAt(m, d.end())
		waitFor(t, what+" ends in quarantine", func() bool {
			return slices.Equal(m.quarantined(t), []string{"k"})
		})
		fields, _ := m.Keys.HashFields("k:1")
		if _, found := fields["post"]; found {
			t.Errorf("%s: the row is %v", what, fields)
		}
	}
	isIn("a RENAME COLUMN")
	if q := r.pipeline.Stats().Quarantined; len(q) != 1 || !strings.Contains(q[0].Reason,
		"the column mail of "+d.name+".k, which is masked, was renamed to post") {
		t.Errorf("in quarantine are %+v", q)
	}
	d.exec("ALTER TABLE k ADD COLUMN z INT")
	isIn("another ALTER")
	r.kill()
	r = start(t, c, m, "snapshot")
	isIn("--from snapshot")
	d.exec("ALTER TABLE k RENAME COLUMN post TO mail")
	follows("a RENAME COLUMN back")
	if fields, _ := m.Keys.HashFields("k:1"); fields["mail"] == "open" || fields["mail"] == "" {
		t.Errorf("the row is %v", fields)
	}
}
