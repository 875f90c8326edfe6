package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/pipelines/file"
)

// grantTrigger lets the user of config see triggers.
func (d *database) grantTrigger() {
	d.exec("SET sql_log_bin = 0", "GRANT TRIGGER ON `"+d.name+"`.* TO rowfall@'%'",
		"SET sql_log_bin = 1")
}

// inFormat executes statements in a session with another binlog_format.
func (d *database) inFormat(format string, statements ...string) {
	d.t.Helper()
	d.exec("SET SESSION binlog_format = '" + format + "'")
	d.exec(statements...)
	d.exec("SET SESSION binlog_format = 'ROW'")
}

// Tables that are changed by statements that are logged as text go into quarantine, and no others.
// Statements that change no mapped table pass.
func testRowStatements(t *testing.T, d *database) {
	d.statementTables()
	d.grantTrigger()
	m := newMemory()
	c := d.statementConfig()
	r := start(t, c, m, "")
	r.waitAt(m, d.end())
	path := filepath.Join(t.TempDir(), "rows")
	must(t, os.WriteFile(path, []byte("70\t7\n71\t7\n"), 0o644))
	must(t, os.Chmod(filepath.Dir(path), 0o755))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755))
	passed := uint64(0)
	for _, test := range []struct {
		format, want string
		sql          []string
	}{
		{"STATEMENT", "t", []string{"INSERT INTO t VALUES (10, 10)"}},
		// An unsafe statement is logged as rows, in the same transaction.
		{"MIXED", "t", []string{
			"BEGIN", "INSERT INTO u VALUES (10, LENGTH(UUID()))",
			"UPDATE t SET v = 11 WHERE id = 10",
			"INSERT INTO u VALUES (11, LENGTH(UUID()))", "COMMIT",
		}},
		{"STATEMENT", "t u", []string{
			"UPDATE t JOIN u ON t.id = u.id SET t.v = 12, u.v = 13 WHERE t.id = 1",
		}},
		{"STATEMENT", "u", []string{"DELETE FROM u WHERE id IN (SELECT id FROM t WHERE id = 1)"}},
		{"STATEMENT", "t", []string{"DELETE t FROM t JOIN u USING (id) WHERE id = 10"}},
		{"STATEMENT", "u", []string{"REPLACE INTO u SELECT id, v FROM t"}},
		{"STATEMENT", "myisam", []string{
			"BEGIN", "INSERT INTO myisam VALUES (2, 2)", "COMMIT",
		}},
		{"STATEMENT", "t", []string{
			"LOAD DATA INFILE '" + path + "' INTO TABLE t (id, v)",
		}},
		{"STATEMENT", "", []string{
			"INSERT INTO log VALUES (1, 'INSERT INTO t VALUES (1)')",
			"REPLACE INTO log SELECT 2, COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', " +
				"id, CONCAT(ISNULL(v)))) AS UNSIGNED)), 10, 16)), 0) FROM t " +
				"FORCE INDEX (`PRIMARY`) WHERE ((id >= '1')) AND ((id <= '9')) /*checksum chunk*/",
			"BEGIN", "UPDATE log SET text = 'x' WHERE id = 1", "DELETE FROM log WHERE id = 2",
			"COMMIT",
		}},
		{"STATEMENT", "t", []string{
			"CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY, v INT)",
			"INSERT INTO tmp VALUES (80, 8), (81, 8)", "INSERT INTO t SELECT * FROM tmp",
			"DROP TEMPORARY TABLE tmp",
		}},
		// The foreign key of kid changes rows that the statement does not name.
		{"STATEMENT", "kid", []string{"DELETE FROM parent WHERE id = 1"}},
	} {
		d.inFormat(test.format, test.sql...)
		d.exec("INSERT INTO calm VALUES (1, 1) ON DUPLICATE KEY UPDATE v = v + 1")
		r.waitAt(m, d.end())
		if got := r.quarantined(d, "binlog_format=ROW"); got != test.want {
			t.Errorf("after %s, the tables in quarantine are %q, want %q", test.sql, got, test.want)
		}
		if test.want == "" {
			if n := r.pipeline.Stats().PassedStatements; n != passed+4 {
				t.Errorf("%d statements have passed, want %d", n, passed+4)
			}
		}
		passed = r.pipeline.Stats().PassedStatements
		r.backfill(d, &c, m, test.want)
	}
	// With the privilege to see triggers, no other table was read again.
	for _, j := range r.pipeline.Stats().Jobs {
		t.Errorf("there is a job of %s", j.Table)
	}

	// A trigger changes another mapped table, whose rows are not logged then.
	d.exec("CREATE TRIGGER t_insert AFTER INSERT ON t FOR EACH ROW UPDATE u SET v = 99")
	d.inFormat("STATEMENT", "INSERT INTO t VALUES (90, 9)")
	r.waitAt(m, d.end()) // the pipeline sees the trigger
	d.exec("DROP TRIGGER t_insert")
	r.waitAt(m, d.end())
	if got := r.quarantined(d, "binlog_format=ROW"); got != "t" {
		t.Errorf("with a trigger, the tables in quarantine are %q", got)
	}
	r.backfill(d, &c, m, "t")
	// A new table with the rows of a SELECT is read.
	d.inFormat("STATEMENT", "CREATE TABLE made (id INT PRIMARY KEY, v INT) SELECT id, v FROM t",
		"CREATE TABLE unmade SELECT id FROM t")
	r.backfill(d, &c, m, "")
	mustBeEqual(t, m.rows("made"), d.rows("made"))
	r.kill()

	// The pipeline lags behind the DROP TRIGGER, so that the server shows no trigger any more.
	d.exec("CREATE TRIGGER log_insert AFTER INSERT ON log FOR EACH ROW UPDATE u SET v = 98")
	d.inFormat("STATEMENT", "INSERT INTO log VALUES (90, '')")
	d.exec("DROP TRIGGER log_insert", "INSERT INTO t VALUES (91, 9)")
	r = start(t, c, m, "")
	r.backfill(d, &c, m, "")
}

// statementTables creates the tables of statementConfig.
func (d *database) statementTables() {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE calm (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)",
		"INSERT INTO u VALUES (1, 1), (3, 3)",
		"CREATE TABLE myisam (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
		"CREATE TABLE log (id INT PRIMARY KEY, text VARCHAR(200))",
		"CREATE TABLE ignored (id INT PRIMARY KEY, v INT)", "INSERT INTO ignored VALUES (1, 1)",
		"CREATE TABLE parent (id INT PRIMARY KEY)", "INSERT INTO parent VALUES (1), (2)",
		"CREATE TABLE kid (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES parent (id) "+
			"ON DELETE CASCADE)",
		"INSERT INTO kid VALUES (1, 1), (2, 2)")
}

func (d *database) statementConfig() file.Config {
	ignored := ""
	for _, table := range []string{"log", "parent", "ignored"} {
		ignored += fmt.Sprintf("  \"%s.%s\": {ignore: true}\n", d.name, table)
	}
	return d.config("{}", "{cascades: reconcile}", "sink:", ignored+"sink:")
}

// A statement stops the pipeline if its changes of tables are not known. The error has the remedy.
func testRowStatementStops(t *testing.T, d *database) {
	d.statementTables()
	d.exec("SET GLOBAL log_bin_trust_function_creators = 1",
		"CREATE VIEW look AS SELECT * FROM t", "CREATE VIEW log_view AS SELECT * FROM log",
		"CREATE FUNCTION f(x INT) RETURNS INT MODIFIES SQL DATA "+
			"BEGIN INSERT INTO u VALUES (x, x); RETURN x; END",
		"CREATE PROCEDURE p() INSERT INTO t VALUES (50, f(50))",
		"CREATE TRIGGER ignored_update AFTER UPDATE ON ignored FOR EACH ROW UPDATE t SET v = 5")
	const format = "logged as a statement instead of rows"
	stops := func(sql string, want ...string) {
		t.Helper()
		m := newMemory()
		r := start(t, d.statementConfig(), m, "")
		r.waitAt(m, d.end())
		d.inFormat("STATEMENT", sql)
		r.mustStop(append(want, format, "binlog_format=ROW", "rowfall skip", "--table")...)
	}
	stops("INSERT INTO log VALUES (60, 'x')", "log",
		"GRANT TRIGGER ON `"+d.name+"`.* TO `rowfall`@")
	d.grantTrigger()
	stops("INSERT INTO log VALUES (f(61), 'x')", `"f" may be a stored function`)
	if d.conn.Server().Flavor == mysql.MariaDB {
		stops("CREATE TEMPORARY TABLE tmp SELECT f(67) AS x", `"f" may be a stored function`)
		d.exec("DROP TEMPORARY TABLE tmp")
		stops("CREATE OR REPLACE TABLE another (id INT) SELECT f(68) AS id", "stored function")
		stops("CREATE TABLE third SELECT id FROM look", d.name+".look", "it is a view")
	}
	stops("UPDATE ignored SET v = 2", d.name+".ignored", "it has triggers (ignored_update)")
	stops("INSERT INTO look VALUES (62, 62)", d.name+".look", "it is a view")
	stops("INSERT INTO log SELECT id + 63, 'x' FROM look LIMIT 1", d.name+".look", "it is a view")
	stops("CALL p()", `"f" may be a stored function`)
	stops("DO f(64)", "f") // MySQL logs SELECT f(64)

	// The user knows which tables the statement has changed.
	m := runInstance(t, d.statementConfig())
	m.wait(d)
	d.inFormat("STATEMENT", "INSERT INTO log VALUES (f(65), 'x')")
	d.exec("INSERT INTO calm VALUES (5, 5)")
	m.mustSkip(m.stoppedAt(format), d.name+".u")
	m.wait(d)
	m.mustHold("calm:5", "v", "5")
	gaps := waitForGaps(t, m.client, 1)
	if !slices.Equal(gaps[0].Tables, []string{d.name + ".u"}) {
		t.Errorf("the gap is %+v", gaps[0])
	}
	if err := m.client.Do(t.Context(), "ROWFALL", "BACKFILL", d.name+".u").Err(); err != nil {
		t.Fatal(err)
	}
	waitForGaps(t, m.client, 0)
	m.mustHold("u:65", "v", "65")

	// Without the privilege to see triggers, the other tables are read again.
	d.exec("SET sql_log_bin = 0", "REVOKE TRIGGER ON `"+d.name+"`.* FROM rowfall@'%'",
		"SET sql_log_bin = 1",
		"CREATE TRIGGER u_insert AFTER INSERT ON u FOR EACH ROW UPDATE calm SET v = 7")
	d.inFormat("STATEMENT", "INSERT INTO u VALUES (66, 66)")
	waitFor(t, "the row that the trigger changed is read", func() bool {
		v, err := m.client.HGet(t.Context(), "calm:5", "v").Result()
		return err == nil && v == "7"
	})
	d.exec("DROP TRIGGER u_insert", "SET GLOBAL log_bin_trust_function_creators = DEFAULT")
}
