package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/binlog"
)

// Rows reach the sink whatever kind of statement, transaction and event they come by.
func testRowEvents(t *testing.T, d *database) {
	const columns = " (id INT PRIMARY KEY, v INT, name VARCHAR(200), UNIQUE KEY (v))"
	d.exec("CREATE TABLE t"+columns, "CREATE TABLE u"+columns, "CREATE TABLE m"+columns+
		" ENGINE=MyISAM", "CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
		"CREATE TRIGGER t_audit AFTER UPDATE ON t FOR EACH ROW "+
			"INSERT INTO audit (v) VALUES (NEW.v)",
		"CREATE TRIGGER t_before BEFORE INSERT ON t FOR EACH ROW "+
			"SET NEW.name = CONCAT(NEW.id, ':')")
	c := d.config()
	m := newMemory()
	r := start(t, c, m, "")
	r.waitAt(m, d.end())
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	path := filepath.Join(dir, "rows")
	var rows strings.Builder
	for i := range 500 {
		fmt.Fprintf(&rows, "%d\t%d\t%s\n", 1000+i, 1000+i, strings.Repeat("x", i%200))
	}
	must(t, os.WriteFile(path, []byte(rows.String()), 0o644))
	statements := []string{
		"DELETE FROM t", "DELETE FROM u", "DELETE FROM m", "DELETE FROM audit",
		"INSERT INTO t (id, v) VALUES (1, 1), (2, 2), (3, 3)",
		"INSERT INTO u SELECT id, v, 'u' FROM t",
		"INSERT INTO t (id, v) VALUES (1, 9), (4, 4) ON DUPLICATE KEY UPDATE v = t.v + 10",
		"REPLACE INTO u VALUES (1, 2, 'replaces two rows'), (5, 5, 'new')",
		"UPDATE t JOIN u USING (id) SET t.v = t.v + 100, u.name = 'joined'",
		"DELETE t, u FROM t JOIN u USING (id) WHERE id = 1",
		"BEGIN", "INSERT INTO t (id, v) VALUES (10, 10)", "SAVEPOINT a",
		"INSERT INTO t (id, v) VALUES (11, 11)", "UPDATE u SET v = v + 7", "ROLLBACK TO a",
		"INSERT INTO u VALUES (13, 13, 'after')", "RELEASE SAVEPOINT a", "COMMIT",
		"BEGIN", "INSERT INTO t (id, v) VALUES (20, 20)", "ROLLBACK",
		"INSERT INTO m VALUES (1, 1, 'alone'), (2, 2, 'alone')",
		"UPDATE m SET v = v + 1 ORDER BY v DESC",
		"LOAD DATA INFILE '" + path + "' INTO TABLE t", "UPDATE t SET v = v + 1000 ORDER BY v DESC",
		"UPDATE t SET id = id + 5000 WHERE id BETWEEN 1000 AND 1010",
		"CREATE TABLE IF NOT EXISTS made (id INT PRIMARY KEY, v INT)", "DROP TABLE made",
	}
	isMariaDB := d.variable("log_bin_compress") != ""
	var format string
	var settings []string
	if isMariaDB {
		// MySQL with GTIDs allows no transaction on tables of both kinds of engines.
		statements = append(statements, "BEGIN",
			"INSERT INTO m VALUES (11, 11, 'in a transaction')",
			"INSERT INTO t (id, v) VALUES (12, 12)", "DELETE FROM m WHERE id = 2", "COMMIT")
		format, settings = "log_bin_compress", []string{
			"SET GLOBAL log_bin_compress_min_len = 10",
			"SET GLOBAL log_bin_compress = ON",
		}
	} else {
		format = "transaction compression"
		settings = []string{"SET SESSION binlog_transaction_compression = ON"}
	}
	for _, name := range []string{"", format} {
		from := d.end()
		if name != "" {
			d.exec(settings...)
		}
		d.exec(statements...)
		d.exec("INSERT INTO u VALUES (9999, 9999, '" + strings.Repeat("long ", 30) + "')")
		r.mustEqual(d, &c, m, "every statement, with "+name)
		if q := r.quarantined(d, ""); q != "" {
			t.Errorf("with %s: %s is in quarantine", name, q)
		}
		types := d.eventTypes(from)
		compressed := types["Transaction_payload"] + types["Write_rows_compressed_v1"]
		if (compressed > 0) != (name != "") ||
			isMariaDB && name != "" && types["Query_compressed"] == 0 {
			t.Errorf("with %s, the types of events are %v", name, types)
		}
	}
	if isMariaDB {
		d.exec("SET GLOBAL log_bin_compress = DEFAULT",
			"SET GLOBAL log_bin_compress_min_len = DEFAULT")
	}
}

// variable returns a global variable, or an empty text if the server does not have it.
func (d *database) variable(name string) string {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), "SHOW GLOBAL VARIABLES LIKE '"+name+"'")
	must(d.t, err)
	if len(r.Rows) == 0 {
		return ""
	}
	return r.Text(0, "Value")
}

// eventTypes counts the events after a position by their types, in the binlog file of the position.
func (d *database) eventTypes(from binlog.Position) map[string]int {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), fmt.Sprintf("SHOW BINLOG EVENTS IN '%s' FROM %d",
		from.File, from.Offset))
	must(d.t, err)
	types := make(map[string]int)
	for i := range r.Rows {
		types[r.Text(i, "Event_type")]++
	}
	return types
}
