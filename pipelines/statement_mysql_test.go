package pipelines_test

import (
	"fmt"
	"testing"

	"rowfall/binlog"
)

// Where the mapping says so, statements that change rows without logging them stop the pipeline,
// and a restart stops again. With the settings' defaults a restart follows the statement.
func testStops(t *testing.T, d *database) {
	for _, test := range []struct{ setting, sql, want string }{
		{"on_truncate", "TRUNCATE TABLE t", "a TRUNCATE of mapped table"},
		{"on_drop", "DROP TABLE t", "a DROP TABLE of mapped table"},
		{"on_drop", "RENAME TABLE t TO u", "a RENAME of mapped table"},
		{
			"on_alter", "ALTER TABLE t ADD COLUMN w INT DEFAULT 3",
			"an ALTER (added column w has a default) of mapped table",
		},
		{
			"on_alter", "ALTER TABLE t TRUNCATE PARTITION p0",
			"an ALTER (TRUNCATE PARTITION) of mapped table",
		},
	} {
		d.exec("DROP TABLE IF EXISTS t, u",
			"CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 "+
				"VALUES LESS THAN MAXVALUE)",
			"INSERT INTO t VALUES (1, 1)")
		m := newMemory()
		c := d.config(`.*": {}`, `.*": {`+test.setting+`: stop}`)
		r := start(t, c, m, "")
		m.waitAt(t, d.end())
		// Rows that come along with the statement must not hide it.
		d.exec("INSERT INTO t VALUES (2, 2)", "INSERT INTO t VALUES (3, 3)")
		before := d.end()
		d.exec(test.sql)
		r.mustStop(test.want, test.setting, before.String())
		start(t, c, m, "").mustStop(test.want)
		if p := m.progress(t); !before.GTID.Contains(p.Position.GTID) {
			t.Errorf("%s: the position %s is behind the statement, which came after %s", test.sql,
				p.Position, before)
		}
		if got := m.rows("t"); got["1"] != "1" {
			t.Errorf("%s: the data lost rows: %v", test.sql, got)
		}
		c = d.config()
		r = start(t, c, m, "")
		r.mustEqual(d, &c, m, test.sql)
		r.kill()
	}
}

// Statements that change nothing mapped pass, and new tables are mapped.
func testFollowed(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	c := d.config("backfill: {chunk_rows: 1000}", "backfill: {chunk_rows: 1}")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec(
		"ALTER TABLE t ADD INDEX (v)", "CREATE INDEX w ON t (v, id)", "DROP INDEX w ON t",
		"ANALYZE TABLE t", "OPTIMIZE TABLE t", "CREATE TABLE n1 (id INT PRIMARY KEY, v INT)",
		"INSERT INTO n1 VALUES (1, 5), (2, 6)", "UPDATE n1 SET v = NULL WHERE id = 2",
		"CREATE TABLE n2 SELECT id, v FROM n1 WHERE FALSE", // it has no key
		"INSERT INTO n2 VALUES (9, 9)",
		"CREATE TABLE n3 (id INT PRIMARY KEY, v INT) SELECT id, v FROM n1",
		"CREATE TABLE IF NOT EXISTS n1 (other INT)",
		"CREATE TABLE n4 LIKE t",
		"INSERT INTO n4 VALUES (4, 4)",
		"INSERT INTO t VALUES (2, 2)",
	)
	m.waitAt(t, d.end())
	for range 2 {
		for _, table := range []string{"t", "n1", "n3", "n4"} {
			mustBeEqual(t, m.rows(table), d.rows(table))
		}
		if got := m.rows("n2"); len(got) > 0 {
			t.Errorf("a table without a key was mapped: %v", got)
		}
		// Again, now from what the data says of the tables.
		r.kill()
		r = start(t, c, m, "")
		d.exec("INSERT INTO n2 VALUES (10, 10)", "UPDATE n1 SET v = 7",
			"REPLACE INTO n4 VALUES (5, 5)")
		m.waitAt(t, d.end())
	}
	// A table that came and went while nobody was looking holds nothing up.
	r.kill()
	d.exec("CREATE TABLE gone (id INT PRIMARY KEY, v INT)", "INSERT INTO gone VALUES (1, 1)",
		"DROP TABLE gone", "DELETE FROM n4 WHERE id = 5")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("n4"), d.rows("n4"))
}

// MariaDB logs the settings before a statement (SET STATEMENT). Its ALTER IGNORE removes rows
// without logging them, and CREATE OR REPLACE TABLE drops a table.
func testMariaStatements(t *testing.T, d *database) {
	m := newMemory()
	c := d.config()
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	r := start(t, c, m, "")
	// CREATE OR REPLACE TABLE hides the table for a moment. A pipeline that starts then finds none.
	m.waitAt(t, d.end())
	for _, sql := range []string{
		"SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE TABLE t",
		"ALTER IGNORE TABLE t ADD UNIQUE (v)",
		"CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v INT, w VARCHAR(9) DEFAULT 'x')",
	} {
		d.exec("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES (1, 1), (2, 1)", sql, "INSERT INTO t (id, v) VALUES (3, 3)")
		r.mustEqual(d, &c, m, sql)
	}
}

// A unit that is flushed because a statement follows does not include that statement.
func testPositionOfDDL(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	var before binlog.Position
	for i := range 50 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", i, i))
	}
	before = d.end()
	d.exec("TRUNCATE TABLE t")
	c := d.config(`.*": {}`, `.*": {on_truncate: stop}`)
	start(t, c, m, "").mustStop("a TRUNCATE of mapped table", before.String())
	if p := m.progress(t); !p.Position.GTID.Equal(before.GTID) {
		t.Errorf("the data are at %s, want %s", p.Position, before)
	}
	if n := len(m.rows("t")); n != 50 {
		t.Errorf("%d rows came before the TRUNCATE, want 50", n)
	}
}

// A table that was unmapped for want of a key has rows. If it gets a key, it is read. A CREATE
// TABLE IF NOT EXISTS does not make it a new table. A DROP and CREATE does.
func testCreateOfKnown(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE a (id INT NOT NULL, v INT)",
		"CREATE TABLE b (id INT NOT NULL, v INT)", "INSERT INTO a VALUES (1, 1)",
		"INSERT INTO b VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("DROP TABLE a", "CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY, v INT)",
		"INSERT INTO a VALUES (2, 2)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("a"), d.rows("a"))
	d.exec("ALTER TABLE b ADD PRIMARY KEY (id)",
		"CREATE TABLE IF NOT EXISTS b (id INT PRIMARY KEY, v INT)")
	c := d.config()
	r.mustEqual(d, &c, m, "a primary key was added")
	mustBeEqual(t, m.rows("b"), d.rows("b"))
}
