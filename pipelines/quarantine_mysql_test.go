package pipelines_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/sink"
)

// A row that cannot be applied puts its table into quarantine. The other tables stream on, also in
// the same transaction; a restart keeps the quarantine, and a backfill ends it.
func testQuarantine(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE bad (id INT PRIMARY KEY, v INT, code INT)",
		"INSERT INTO bad VALUES (1, 1, 1)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	c := d.config("sink:", `  "`+d.name+`.bad": {write: [{hash: "bad:{id}"}, `+
		`{string: "code:{code}:{id}", value: "{v}"}]}`+"\nsink:")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	// Rows of both tables, several rows events of each, the fault in the middle.
	d.exec("BEGIN", "INSERT INTO t VALUES (2, 2)", "INSERT INTO bad VALUES (2, 2, 2)",
		"INSERT INTO t VALUES (3, 3)", "INSERT INTO bad VALUES (3, 3, NULL)",
		"INSERT INTO t VALUES (4, 4)", "INSERT INTO bad VALUES (4, 4, 4)", "COMMIT",
		"INSERT INTO t VALUES (5, 5)", "INSERT INTO bad VALUES (5, 5, 5)")
	m.waitAt(t, d.end())
	check := func(when string) {
		t.Helper()
		mustBeEqual(t, m.rows("t"), d.rows("t"))
		if got := m.rows("bad"); len(got) != 1 {
			t.Errorf("%s: the rows of the table in quarantine are %v, want those before", when, got)
		}
		if q := m.progress(t).Quarantined; q != fmt.Sprintf("[%q]", d.name+".bad") {
			t.Errorf("%s: quarantined is %s", when, q)
		}
		faults := r.pipeline.Stats().Quarantined
		if len(faults) != 1 || !strings.Contains(faults[0].Reason, "when_null: skip") {
			t.Errorf("%s: status shows %+v", when, faults)
		}
	}
	check("at the fault")
	r.kill()
	r = start(t, c, m, "")
	d.exec("INSERT INTO t VALUES (6, 6)", "UPDATE bad SET v = 7")
	m.waitAt(t, d.end())
	check("after a restart")
	// The cause is still there: the table is read, and comes back into quarantine.
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".bad"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the table is in quarantine again", func() bool {
		return len(r.pipeline.Stats().Quarantined) == 1 && len(r.pipeline.Stats().Jobs) <= 1
	})
	d.exec("DELETE FROM bad WHERE code IS NULL")
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".bad"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "the end of the quarantine")
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".bat"); err == nil ||
		!strings.Contains(err.Error(), "did you mean") {
		t.Errorf("a backfill of an unknown table: %v", err)
	}
}

// A fault within a transaction that is split keeps the parts that were applied, and a restart in
// the middle continues, before the fault or after it.
func testQuarantineInSplit(t *testing.T, d *database) {
	for part, row := range map[int]int{1: 5, 4: 12} {
		d.exec("DROP TABLE IF EXISTS t, bad", "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
			"CREATE TABLE bad (id INT PRIMARY KEY, v INT, code INT)")
		quarantineInSplit(t, d, part, row)
	}
}

// quarantineInSplit is testQuarantineInSplit with a crash after a part was applied, and a fault in
// a row.
func quarantineInSplit(t *testing.T, d *database, part, row int) {
	m := newMemory()
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 10", "sink:",
		`  "`+d.name+`.bad": {write: [{string: "code:{code}:{id}", value: "{v}"}]}`+"\nsink:")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	crashed := false
	m.After = func(u *sink.Unit) error {
		if u.Progress.Partial == part && !crashed {
			crashed = true
			return errCrash
		}
		return nil
	}
	statements := []string{"BEGIN"}
	for i := range 30 {
		code := fmt.Sprint(i)
		if i == row {
			code = "NULL"
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", i, i),
			fmt.Sprintf("INSERT INTO bad VALUES (%d, %d, %s)", i, i, code))
	}
	d.exec(append(statements, "COMMIT")...)
	waitFor(t, "the crash", r.over)
	if !crashed || r.err == nil {
		t.Fatalf("crashed: %v, ended with %v", crashed, r.err)
	}
	r = start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("DELETE FROM bad WHERE code IS NULL")
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".bad"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "the end of the quarantine")
	r.kill()
}

// With on_error: stop, a row that cannot be applied stops the pipeline.
func testStopAtError(t *testing.T, d *database) {
	d.exec("CREATE TABLE bad (id INT PRIMARY KEY, v INT, code INT)")
	m := newMemory()
	c := d.config(`.*": {}`, `.*": {on_error: stop, write: [{string: "code:{code}:{id}", `+
		`value: "{v}"}]}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO bad VALUES (1, 1, NULL)")
	r.mustStop("when_null: skip", d.name+".bad")
}

// A mapping that does not fit a table any more puts the table into quarantine, and the statement
// that removes the cause ends that.
func testQuarantineByDDL(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT NOT NULL)",
		"INSERT INTO t VALUES (1, 1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	c := d.config("sink:", `  "`+d.name+`.t": {where: w > 0}`+"\nsink:")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("ALTER TABLE t DROP COLUMN w", "INSERT INTO t VALUES (2, 2)",
		"INSERT INTO u VALUES (1, 1)")
	m.waitAt(t, d.end())
	faults := r.pipeline.Stats().Quarantined
	if len(faults) != 1 || !strings.Contains(faults[0].Reason, "where") {
		t.Errorf("status shows %+v", faults)
	}
	mustBeEqual(t, m.rows("u"), d.rows("u"))
	d.exec("ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 5")
	r.mustEqual(d, &c, m, "the column is back")
	if got := m.rows("t"); !slices.Equal([]string{got["1"], got["2"]}, []string{"1", "2"}) {
		t.Errorf("the rows are %v", got)
	}
}

// A table with a column that cannot be represented is in quarantine from the start. The others are
// loaded, and it follows once the column is gone.
func testQuarantineAtStart(t *testing.T, d *database) {
	d.exec("SET NAMES utf8mb4", "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE odd (id INT PRIMARY KEY, v INT, w ENUM('😀', 'b') CHARACTER SET utf8mb4)",
		"INSERT INTO odd VALUES (1, 1, 'b')")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	faults := r.pipeline.Stats().Quarantined
	if len(faults) != 1 || !strings.Contains(faults[0].Reason, "does not show") {
		t.Errorf("status shows %+v", faults)
	}
	r.kill()
	r = start(t, c, m, "")
	d.exec("INSERT INTO odd VALUES (2, 2, 'b')", "INSERT INTO t VALUES (2, 2)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("ALTER TABLE odd MODIFY w VARCHAR(9) CHARACTER SET utf8mb4")
	r.mustEqual(d, &c, m, "the column was converted")
}

// A table of an engine that cannot be followed stays in quarantine at every kind of start, and
// the other tables run. So does one with an entry of its own.
func testQuarantineAtRestart(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE odd (id INT PRIMARY KEY, v INT)", "INSERT INTO odd VALUES (1, 1)",
		"CREATE TABLE own (id INT PRIMARY KEY, v INT)", "INSERT INTO own VALUES (1, 1)")
	m := newMemory()
	c := d.config("sink:", `  "`+d.name+`.own": {}`+"\nsink:")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("ALTER TABLE odd ENGINE=MEMORY", "ALTER TABLE own ENGINE=MEMORY")
	id := 0
	check := func(when string) {
		t.Helper()
		id++
		waitFor(t, when+": the run streams", func() bool {
			return r.over() || r.pipeline.Stats().Streaming
		})
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", id), "UPDATE odd SET v = v + 1",
			"UPDATE own SET v = v + 1")
		waitFor(t, when+": the other table follows", func() bool {
			if r.over() {
				t.Fatalf("%s: the run has ended with %v", when, r.err)
			}
			return m.rows("t")[fmt.Sprint(id)] == "1"
		})
		faults := r.pipeline.Stats().Quarantined
		if len(faults) != 2 || !strings.Contains(faults[0].Reason, "MEMORY") {
			t.Errorf("%s: status shows %+v", when, faults)
		}
		if m.rows("odd")["1"] != "1" || m.rows("own")["1"] != "1" {
			t.Errorf("%s: the rows are %v and %v", when, m.rows("odd"), m.rows("own"))
		}
		r.kill()
	}
	check("after the ALTER")
	for _, from := range []string{"", "now", "snapshot"} {
		r = start(t, c, m, from)
		check("at a start with --from " + from)
	}
	d.exec("ALTER TABLE odd ENGINE=InnoDB", "ALTER TABLE own ENGINE=InnoDB")
	r = start(t, c, m, "")
	r.mustEqual(d, &c, m, "engines that are followed")
}
