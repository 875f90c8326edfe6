package pipelines_test

import (
	"fmt"
	"testing"

	"rowfall/sink"
)

// --from snapshot reads every table again while the data serve: no key that MySQL has is absent at
// any moment, rows that changed while the pipeline was away are corrected, and keys whose rows or
// tables are gone are removed.
func testRebuildAll(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE gone (id INT PRIMARY KEY)",
		"INSERT INTO gone VALUES (1), (2)")
	insertRows(d, 300)
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 50")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("SET SESSION sql_log_bin=0", "UPDATE t SET v = -1 WHERE id % 10 = 0",
		"DELETE FROM t WHERE id > 290", "DROP TABLE gone", "SET SESSION sql_log_bin=1",
		"CREATE TABLE n (id INT PRIMARY KEY, v INT)", "INSERT INTO n VALUES (1, 1)")
	m.After = func(*sink.Unit) error {
		for id := 1; id <= 290; id++ {
			if _, ok := m.Keys.HashFields(fmt.Sprintf("t:%d", id)); !ok {
				return fmt.Errorf("row %d is absent during the rebuild", id)
			}
		}
		return nil
	}
	r = start(t, c, m, "snapshot")
	d.exec("UPDATE t SET v = 7 WHERE id = 5", "INSERT INTO t VALUES (1000, 1000)")
	r.mustEqual(d, &c, m, "--from snapshot")
	if p := m.progress(t); p.Phase != sink.Streaming {
		t.Errorf("the data are %v", p.Phase)
	}
	phases := make(map[sink.Phase]bool)
	for _, u := range m.Units(0) {
		phases[u.Progress.Phase] = true
	}
	if !phases[sink.Rebuilding] {
		t.Error("the state was never rebuilding")
	}
}

// A binlog that was purged while the pipeline was away costs a rebuild, not the data.
func testPurged(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 100)
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("DELETE FROM t WHERE id <= 10", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (500, 5)",
		"FLUSH BINARY LOGS")
	d.purge()
	stopping := d.config("user: rowfall", "user: rowfall, on_purged: stop")
	start(t, stopping, m, "").mustStop("1236")
	r = start(t, c, m, "")
	r.mustFail("purged the binlog", "every table is read again")
	// The same pipeline, as its supervisor runs it again.
	r = r.again()
	r.mustEqual(d, &c, m, "a purged binlog")
}
