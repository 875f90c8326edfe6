package pipelines_test

import (
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// A row image that lacks columns puts its table into quarantine, and no other table of the
// transaction.
func testRowImages(t *testing.T, d *database) {
	const columns = " (id INT PRIMARY KEY, v INT, w INT, b TEXT, g INT AS (v + 1) VIRTUAL)"
	d.exec("CREATE TABLE t"+columns, "CREATE TABLE u"+columns, "CREATE TABLE calm"+columns,
		"INSERT INTO t (id, v, w, b) VALUES (1, 1, 1, 'x'), (2, 2, 2, 'y'), (3, 3, 3, 'z')")
	c := d.config()
	m := newMemory()
	// A global setting is a warning: the images of most sessions may be complete.
	d.exec("SET GLOBAL binlog_row_image = NOBLOB")
	r := start(t, c, m, "")
	r.waitAt(m, d.end())
	d.exec("SET GLOBAL binlog_row_image = DEFAULT")
	warnings := r.pipeline.Stats().Warnings
	if len(warnings) == 0 || !strings.Contains(warnings[0].Warning, "binlog_row_image is NOBLOB") {
		t.Errorf("the warnings are %v", warnings)
	}
	for _, test := range []struct{ image, want, sql string }{
		{"MINIMAL", "t", "UPDATE t SET v = v + 10 WHERE id = 1"},
		{"MINIMAL", "t", "INSERT INTO t (id, v) VALUES (10, 10)"},
		{"MINIMAL", "t", "DELETE FROM t WHERE id = 2"},
		{"NOBLOB", "t", "UPDATE t SET v = v + 10 WHERE id = 1"},
		{"NOBLOB", "t", "DELETE FROM t WHERE id = 10"},
		{"NOBLOB", "", "INSERT INTO t (id, v, w, b) VALUES (11, 11, 11, 'b')"},
		{"FULL", "", "UPDATE t SET v = v + 100"},
	} {
		if test.want != "" {
			d.exec("BEGIN", "INSERT INTO calm (id, v, w, b) VALUES (1, 1, 1, '1') "+
				"ON DUPLICATE KEY UPDATE v = v + 1")
		}
		d.exec("SET SESSION binlog_row_image = "+test.image, test.sql,
			"SET SESSION binlog_row_image = FULL")
		if test.want != "" {
			d.exec("UPDATE calm SET w = w + 1", "COMMIT")
		}
		d.exec("INSERT INTO u (id, v, w, b) VALUES (1, 1, 1, '1') " +
			"ON DUPLICATE KEY UPDATE v = v + 1")
		m.waitAt(t, d.end())
		mustBeEqual(t, m.rows("calm"), d.rows("calm"))
		mustBeEqual(t, m.rows("u"), d.rows("u"))
		if got := r.quarantined(d, "binlog_row_image=FULL"); got != test.want {
			t.Errorf("%s: after %s, the tables in quarantine are %q, want %q", test.image, test.sql,
				got, test.want)
		}
		r.backfill(d, &c, m, test.want)
	}
}

// With binlog_row_image=FULL_NODUP, MariaDB 11.8 leaves out of the new image what an update has not
// changed. Such updates are applied.
func TestFullNoDup(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, servers.MariaDB118, servers.DatabaseOptions{GTID: true})
	d := newDatabase(t, db)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT, w VARCHAR(9), b TEXT, j JSON, "+
		"at TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP, x DECIMAL(10,2), y BIT(3), z DATE)",
		"CREATE TRIGGER t_update BEFORE UPDATE ON t FOR EACH ROW SET NEW.x = NEW.v / 3",
		"CREATE TABLE two (a INT, b INT, c INT, PRIMARY KEY (a, b))", "SET timestamp = 1700000000")
	c := d.config()
	m := newMemory()
	r := start(t, c, m, "")
	r.waitAt(m, d.end())
	from := d.end()
	d.exec("SET SESSION binlog_row_image = FULL_NODUP",
		"INSERT INTO t (id, v, w, b, j) VALUES (1, 1, 'one', 'text', '[1]'), "+
			"(2, NULL, NULL, NULL, NULL), (3, 3, '', '', '{}')",
		"UPDATE t SET v = 7", "UPDATE t SET w = 'w' WHERE id = 2",
		"UPDATE t SET w = NULL, z = NOW()",
		"UPDATE t SET id = id + 10, b = REPEAT('long', 1000) WHERE id < 3", "UPDATE t SET y = 5",
		"INSERT INTO t (id, v) VALUES (3, 8) ON DUPLICATE KEY UPDATE v = VALUES(v)",
		"DELETE FROM t WHERE id = 11", "INSERT INTO two VALUES (1, 1, 1), (1, 2, 2)",
		"UPDATE two SET b = b + 5", "UPDATE two SET c = NULL WHERE b = 6",
		"REPLACE INTO two VALUES (1, 6, 9)")
	r.mustEqual(d, &c, m, "updates with FULL_NODUP")
	if q := r.quarantined(d, ""); q != "" {
		t.Errorf("%s is in quarantine", q)
	}
	if types := d.eventTypes(from); types["Update_rows_v1"]+types["Update_rows"] < 8 {
		t.Errorf("the types of events are %v", types)
	}
}
