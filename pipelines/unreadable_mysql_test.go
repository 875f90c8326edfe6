package pipelines_test

import (
	"strings"
	"testing"
)

// A table with a column that the server does not show in full is in quarantine; the others
// continue, and so does a table whose mapping excludes the column. A table whose labels a statement
// in the binlog has shown is followed, also after a restart.
func testUnreadableColumn(t *testing.T, d *database) {
	d.exec("SET NAMES utf8mb4", "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE odd (id INT PRIMARY KEY, v ENUM('😀', 'b') CHARACTER SET utf8mb4)",
		"INSERT INTO odd VALUES (1, '😀')",
		"CREATE TABLE spared (id INT PRIMARY KEY, e ENUM('😀', 'b') CHARACTER SET utf8mb4, v INT)",
		"INSERT INTO spared VALUES (1, '😀', 1)")
	m := newMemory()
	c := d.config(`.*": {}`, `.*": {}
  "`+d.name+`.spared": {columns: {exclude: [e]}}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	quarantined := func(tables ...string) {
		t.Helper()
		m.waitAt(t, d.end())
		waitFor(t, "status shows tables in quarantine: "+strings.Join(tables, ", "), func() bool {
			faults := r.pipeline.Stats().Quarantined
			if len(faults) != len(tables) {
				return false
			}
			for i, f := range faults {
				if f.Table != d.name+"."+tables[i] || !strings.Contains(f.Reason, "does not show") {
					t.Fatalf("status shows %+v", f)
				}
			}
			return true
		})
		mustBeEqual(t, m.rows("u"), d.rows("u"))
		mustBeEqual(t, m.rows("spared"), d.rows("spared"))
	}
	d.exec("CREATE TABLE u (id INT PRIMARY KEY, v ENUM('😀', '?', 'b') CHARACTER SET utf8mb4)",
		"INSERT INTO u VALUES (1, '😀'), (2, '?')")
	quarantined("odd")
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	r.kill()
	r = start(t, c, m, "")
	d.exec("INSERT INTO u VALUES (3, '😀')", "INSERT INTO odd VALUES (2, 'b')",
		"INSERT INTO spared VALUES (2, 'b', 2)", "UPDATE spared SET v = 3 WHERE id = 1")
	quarantined("odd")
	r.kill()
	d.exec("SET SESSION sql_log_bin=0", "ALTER TABLE t ADD e ENUM('?') CHARACTER SET utf8mb4",
		"SET SESSION sql_log_bin=1", "INSERT INTO u VALUES (4, 'b')")
	r = start(t, c, m, "")
	quarantined("odd", "t")
	d.exec("ALTER TABLE t DROP e", "ALTER TABLE odd MODIFY v INT", "DROP TABLE u")
	r.mustEqual(d, &c, m, "the columns are gone")
}
