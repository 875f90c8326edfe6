package pipelines_test

import (
	"fmt"
	"testing"

	"rowfall/pipelines"
	"rowfall/sink"
)

// A run that ends while rows are read ends at once, whatever the workers do.
func testCloseWhileReading(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40))")
	for i := range 20 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'x')", i))
	}
	lock := d.dial()
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 3")
	for range 4 {
		locked := false
		m.After = func(*sink.Unit) error {
			if locked {
				return nil
			}
			locked = true
			return lock.Exec(t.Context(), "LOCK TABLES `"+d.name+"`.t WRITE")
		}
		r := start(t, c, m, "")
		d.waitForLock()
		r.kill()
		if err := lock.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
	}
	m.After = nil
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A chunk whose rows are larger than expected is cut short.
func testLargeRows(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)")
	for i := range 50 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('%d', %d))", i, i%10, 10000*(i%20)))
	}
	defer pipelines.SetChunkBytes(100_000)()
	m := newMemory()
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// If a statement changes more rows than fit into the dirty keys, the chunk is read again, and each
// row is counted once.
func testManyDirtyKeys(t *testing.T, d *database) {
	const rows = 40
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, rows)
	defer pipelines.SetDirtyKeyBytes(1000)()
	lock := d.dial()
	if err := lock.Exec(t.Context(), "USE `"+d.name+"`"); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	locked := false
	m.After = func(*sink.Unit) error {
		if locked {
			return nil
		}
		locked = true
		return lock.Exec(t.Context(), "LOCK TABLES t WRITE")
	}
	r := start(t, d.config(), m, "")
	d.waitForLock()
	if err := lock.Exec(t.Context(), "UPDATE t SET v = -v"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the update is applied", func() bool { return len(m.rows("t")) == rows })
	if err := lock.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if n := r.pipeline.Stats().Loaded; n != rows {
		t.Errorf("%d rows were loaded, want each counted once, %d", n, rows)
	}
}

// A table without a key is read in the order of its key_columns, even if its collation equates
// different values.
func testNoKey(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE t (id VARCHAR(10) NOT NULL COLLATE utf8mb4_general_ci, v INT)",
		"INSERT INTO t VALUES ('a', 1), ('A', 2), ('ä', 3), ('b', 4), ('B', 5), ('', 6), "+
			"('c', NULL)",
	)
	keyed := []string{"chunk_rows: 1000", "chunk_rows: 2", `.*": {}`, `.t": {key_columns: [id]}`}
	m := newMemory()
	start(t, d.config(keyed...), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("UPDATE t SET v = v + 10 WHERE BINARY id = 'A'", "DELETE FROM t WHERE v = 5")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("CREATE TABLE n (id INT, v INT)")
	keyed[3] = `.n": {key_columns: [id]}`
	start(t, d.config(keyed...), newMemory(),
		"").mustStop("test.yaml:6: tables.", d.name+".n.id", "may be NULL", "declare it NOT NULL")
}
