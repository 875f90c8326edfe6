package pipelines_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// A MySQL that logs cascades does not log them with innodb_native_foreign_keys=ON, as before 9.6.
func TestNativeCascades(t *testing.T) {
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{
		GTID: true, Args: []string{"--loose-innodb-native-foreign-keys=ON"},
	})
	t.Run("Reconcile", func(t *testing.T) { testReconcileCascades(t, newDatabase(t, db)) })
	t.Run("ByRows", func(t *testing.T) { testCascadesByRows(t, newDatabase(t, db)) })
	t.Run("Later", func(t *testing.T) { testLaterCascades(t, newDatabase(t, db)) })
	t.Run("Settings", func(t *testing.T) { testCascadeSettings(t, newDatabase(t, db)) })
}

// reconciling returns a pipeline of all tables but m, with `cascades: reconcile`.
func reconciling(d *database) []string {
	return []string{
		`.*": {}`, `.*": {cascades: reconcile}` + "\n  " + d.name + ".m: {ignore: true}",
	}
}

// waitEqual waits until the sink holds the rows of tables, and no job runs.
func (r *running) waitEqual(m *memory, d *database, tables ...string) {
	r.t.Helper()
	m.waitAt(r.t, d.end())
	want := make(map[string]map[string]string)
	for _, table := range tables {
		want[table] = d.rows(table)
	}
	var last string
	defer func() {
		if r.t.Failed() {
			r.t.Log(last)
		}
	}()
	waitFor(r.t, "the sink equals "+strings.Join(tables, ", "), func() bool {
		if r.over() {
			r.t.Fatalf("the run has ended: %v", r.err)
		}
		if m.progress(r.t).Rebuilding != "" {
			return false
		}
		for _, table := range tables {
			if got := m.rows(table); !maps.Equal(got, want[table]) {
				last = fmt.Sprintf("%s: %v, want %v", table, got, want[table])
				return false
			}
		}
		return true
	})
}

// The rows that foreign keys delete or change without logging them are corrected: through three
// levels of which the middle one is not mapped, with SET NULL, with an update of the referenced
// key, and in a table that refers to itself.
func testReconcileCascades(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT UNIQUE)",
		"CREATE TABLE m (w INT, p INT, id INT PRIMARY KEY, FOREIGN KEY (p) REFERENCES p (id) "+
			"ON DELETE CASCADE)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES m (id) "+
			"ON DELETE CASCADE)",
		"CREATE TABLE n (id INT PRIMARY KEY, v INT, w INT, FOREIGN KEY (v) REFERENCES m (id) "+
			"ON DELETE SET NULL ON UPDATE CASCADE)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (v) "+
			"ON UPDATE CASCADE ON DELETE SET NULL)",
		"CREATE TABLE e (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES e (id) "+
			"ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1, 10), (2, 20), (3, 30), (4, 40)",
		"INSERT INTO m VALUES (0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 4), (0, 4, 5)",
		"INSERT INTO c VALUES (1, 1), (2, 1), (3, 2), (4, 3), (5, 4)",
		"INSERT INTO n VALUES (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 4, 0), (5, 5, 0)",
		"INSERT INTO u VALUES (1, 10), (2, 20), (3, 30), (4, 40)",
		"INSERT INTO e VALUES (1, NULL), (2, 1), (3, 2), (4, NULL)",
	)
	all := []string{"p", "c", "n", "u", "e"}
	mem := newMemory()
	r := start(t, d.config(reconciling(d)...), mem, "")
	r.waitEqual(mem, d, all...)

	d.exec("DELETE FROM p WHERE id = 1")
	r.waitEqual(mem, d, all...)
	d.exec("DELETE FROM m WHERE id = 2") // which is not mapped
	r.waitEqual(mem, d, all...)
	d.exec("UPDATE p SET v = 31 WHERE id = 3")
	r.waitEqual(mem, d, all...)
	d.exec("DELETE FROM e WHERE id = 1")
	r.waitEqual(mem, d, all...)

	d.exec("UPDATE m SET w = 1", "UPDATE m SET id = 50 WHERE id = 5")
	r.waitEqual(mem, d, all...)
	d.exec("ALTER TABLE m MODIFY w INT AFTER id", "UPDATE m SET id = 51 WHERE id = 50")
	r.waitEqual(mem, d, all...)
	d.exec("ALTER TABLE m MODIFY w INT FIRST")

	// A change of a row that the cascade of the same transaction has changed.
	d.exec("BEGIN", "DELETE FROM m WHERE id = 3", "UPDATE n SET w = 1 WHERE id = 3", "COMMIT")
	r.waitEqual(mem, d, all...)

	// An XA transaction takes effect after its rows were logged.
	d.exec("XA START 'x'", "DELETE FROM m WHERE id = 4", "XA END 'x'", "XA PREPARE 'x'")
	mem.waitAt(t, d.end())
	d.exec("XA COMMIT 'x'")
	r.waitEqual(mem, d, all...)

	// Nothing acts without checks, so nothing is read again.
	jobs := r.pipeline.Stats().Jobs
	d.exec("SET foreign_key_checks=0", "DELETE FROM p WHERE id = 4", "SET foreign_key_checks=1")
	r.waitEqual(mem, d, all...)
	if len(jobs) > 0 {
		t.Errorf("jobs are left: %+v", jobs)
	}

	r = manyParents(t, d, mem, r)
	r.waitEqual(mem, d, all...)
	again := newMemory()
	rebuilt := start(t, d.config(reconciling(d)...), again, "")
	rebuilt.waitEqual(again, d, all...)
}

// After a DELETE, only the rows are read again that referred to the deleted rows, level by level:
// damage to other rows stays.
func testCascadesByRows(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id) "+
			"ON DELETE CASCADE)",
		"CREATE TABLE n (id INT, v INT, PRIMARY KEY (v, id), FOREIGN KEY (v) REFERENCES c (id) "+
			"ON DELETE CASCADE)",
		"CREATE TABLE m (id INT PRIMARY KEY, v INT)", // which is not mapped
		"CREATE TABLE e (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES m (id) "+
			"ON DELETE SET NULL)",
		"INSERT INTO m VALUES (1, 1), (2, 2)",
		"INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)",
		"INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 1)",
		"INSERT INTO n VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
		"INSERT INTO e VALUES (1, 1), (2, 2), (3, NULL)",
	)
	mem := newMemory()
	r := start(t, d.config(reconciling(d)...), mem, "")
	r.waitEqual(mem, d, "p", "c", "e")
	mem.damage(t, "HSET c:3 v 77", "HSET e:2 v 77", "HSET n:3:3 extra 1")
	d.exec("BEGIN", "DELETE FROM p WHERE id = 1", "INSERT INTO c VALUES (5, 2)",
		"DELETE FROM p WHERE id = 2", "DELETE FROM m WHERE id = 1", "COMMIT")
	mem.waitAt(t, d.end())
	want := map[string]map[string]string{
		"c": {"3": "77"}, "e": {"1": "", "2": "77", "3": ""}, "p": {"3": "3"},
	}
	waitFor(t, "the rows that changed are read again", func() bool {
		if r.over() {
			t.Fatalf("the run has ended: %v", r.err)
		}
		return mem.progress(t).Rebuilding == ""
	})
	for table, rows := range want {
		if got := mem.rows(table); !maps.Equal(got, rows) {
			t.Errorf("%s: %v, want %v", table, got, rows)
		}
	}
	for key, want := range map[string]bool{"n:1:1": false, "n:2:2": false, "n:4:4": false} {
		if _, found := mem.Keys.HashFields(key); found != want {
			t.Errorf("%s is there: %v", key, found)
		}
	}
	if fields, _ := mem.Keys.HashFields("n:3:3"); fields["extra"] != "1" {
		t.Errorf("n:3:3 is %v: the whole table was read", fields)
	}
}

// manyParents deletes many parents while children are inserted, and kills the run meanwhile.
func manyParents(t *testing.T, d *database, mem *memory, r *running) *running {
	t.Helper()
	const parents = 300
	d.exec("SET foreign_key_checks=1")
	for id := 1000; id < 1000+parents; id++ {
		d.exec(fmt.Sprintf("INSERT INTO p VALUES (%d, %d)", id, id),
			fmt.Sprintf("INSERT INTO m VALUES (0, %d, %d)", id, id),
			fmt.Sprintf("INSERT INTO c VALUES (%d, %d)", id, id),
			fmt.Sprintf("INSERT INTO n VALUES (%d, %d, 0)", id, id))
	}
	inserted := make(chan struct{})
	other := d.dial()
	must(t, other.Exec(t.Context(), "USE `"+d.name+"`"))
	go func() {
		defer close(inserted)
		for id := 1000; id < 1000+parents; id++ {
			// The parent may be gone already.
			_ = other.Exec(t.Context(), fmt.Sprintf("INSERT INTO c VALUES (%d, %d)", 9000+id, id))
			_ = other.Exec(t.Context(), fmt.Sprintf("UPDATE n SET w = %d WHERE id = %d", id, id))
		}
	}()
	for id := 1000 + parents - 1; id >= 1000; id-- {
		if id%7 > 0 {
			d.exec(fmt.Sprintf("DELETE FROM p WHERE id = %d", id))
		}
		if id%100 == 50 {
			r.kill()
			r = start(t, d.config(reconciling(d)...), mem, "")
		}
	}
	<-inserted
	return r
}

// Foreign keys that appear or change while the pipeline is behind are followed, and so is a table
// in the middle that gets one.
func testLaterCascades(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE m (id INT PRIMARY KEY, p INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, CONSTRAINT cm FOREIGN KEY (v) "+
			"REFERENCES m (id) ON DELETE CASCADE)",
		"CREATE TABLE n (id INT PRIMARY KEY, v INT)",
		"INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
		"INSERT INTO m VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
		"INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
		"INSERT INTO n VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
	)
	all := []string{"p", "c", "n"}
	mem := newMemory()
	r := start(t, d.config(reconciling(d)...), mem, "")
	r.waitEqual(mem, d, all...)
	d.exec("ALTER TABLE m ADD CONSTRAINT mp FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE",
		"DELETE FROM p WHERE id = 1")
	r.waitEqual(mem, d, all...)
	if jobs := r.pipeline.Stats().Jobs; len(jobs) > 0 {
		t.Errorf("jobs are left: %+v", jobs)
	}
	d.exec("DELETE FROM n WHERE id = 1",
		"ALTER TABLE n ADD CONSTRAINT np FOREIGN KEY (v) REFERENCES p (id) ON DELETE SET NULL",
		"DELETE FROM p WHERE id = 2")
	r.waitEqual(mem, d, all...)
	r.kill()
	// The keys act and are gone before the pipeline sees them.
	d.exec(
		"DELETE FROM p WHERE id = 3", "ALTER TABLE c DROP FOREIGN KEY cm",
		"ALTER TABLE n DROP FOREIGN KEY np",
		"ALTER TABLE n ADD CONSTRAINT np FOREIGN KEY (v) REFERENCES p (id) ON DELETE CASCADE",
		"DELETE FROM p WHERE id = 4", "ALTER TABLE n DROP FOREIGN KEY np",
	)
	r = start(t, d.config(reconciling(d)...), mem, "")
	r.waitEqual(mem, d, all...)
}

// Every table is named by `cascades: stop`, and status shows those whose cascades are ignored. What
// was ignored is corrected once the setting is reconcile.
func testCascadeSettings(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE a (id INT PRIMARY KEY, v INT, CONSTRAINT ap FOREIGN KEY (v) "+
			"REFERENCES p (id) ON DELETE SET NULL)",
		"CREATE TABLE b (id INT PRIMARY KEY, v INT, CONSTRAINT bp FOREIGN KEY (v) "+
			"REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE plain (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id))",
		"INSERT INTO p VALUES (1, 1), (2, 2)", "INSERT INTO a VALUES (1, 1), (2, 2)",
		"INSERT INTO b VALUES (1, 1), (2, 2)",
	)
	mem := newMemory()
	start(t, d.config(), mem, "").mustStop(
		"the foreign key ap of mapped table "+d.name+".a is ON DELETE SET NULL",
		"the foreign key bp of mapped table "+d.name+".b is ON DELETE CASCADE ON UPDATE CASCADE",
		"cascades: reconcile")
	r := start(t, d.config(`.*": {}`, `.*": {cascades: ignore}`), mem, "")
	mem.waitAt(t, d.end())
	want := []string{d.name + ".a", d.name + ".b"}
	if got := r.pipeline.Stats().IgnoredCascades; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("tables whose cascades are ignored are %v, want %v", got, want)
	}
	d.exec("DELETE FROM p WHERE id = 1")
	mem.waitAt(t, d.end())
	r.kill()
	if got := mem.rows("b"); len(got) != 2 {
		t.Errorf("rows of b are %v: the cascade is not ignored", got)
	}
	r = start(t, d.config(`.*": {}`, `.*": {cascades: reconcile}`), mem, "")
	r.waitEqual(mem, d, "p", "a", "b")
	if got := r.pipeline.Stats().IgnoredCascades; len(got) > 0 {
		t.Errorf("tables whose cascades are ignored are %v", got)
	}
}
