package pipelines_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/pipelines"
	"rowfall/sink"
)

// scanRows is the number of rows of a table without an index.
const scanRows = 50_000

// A table without an index is loaded by one SELECT, while rows change all the time.
func testScan(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT NOT NULL, v INT)")
	for id := 0; id < scanRows; id += 1000 {
		var values strings.Builder
		for n := range 1000 {
			fmt.Fprintf(&values, ", (%d, 0)", id+n)
		}
		d.exec("INSERT INTO t VALUES " + values.String()[2:])
	}
	// The rate leaves time for changes while the rows are written.
	c := d.config(`.*": {}`, `.t": {key_columns: [id]}`, "chunk_rows: 1000",
		"chunk_rows: 1000, rows_per_second: 20000")
	var stopping atomic.Bool
	var changes atomic.Int64
	var writers sync.WaitGroup
	defer func() { stopping.Store(true); writers.Wait() }()
	for w := range 2 {
		conn := d.dial()
		writers.Go(func() { writeLoose(t, &stopping, &changes, conn, d.name, w) })
	}
	selects := d.logQueries()
	m := newMemory()
	r := start(t, c, m, "")
	waitFor(t, "the table is loaded",
		func() bool { return r.over() || m.progress(t).Phase == sink.Streaming })
	t.Logf("%d changes during the load", changes.Load())
	stopping.Store(true)
	writers.Wait()
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if n := selects("SELECT%`t` AS r%"); n != 1 {
		t.Errorf("%d SELECTs of the table, want 1", n)
	}
	if n := r.pipeline.Stats().Loaded; n < scanRows*9/10 {
		t.Errorf("%d rows were loaded, want about %d", n, scanRows)
	}
}

// logQueries makes the server log queries. The result returns how many queries of a form were
// logged, and ends the logging.
func (d *database) logQueries() func(form string) int {
	d.exec("SET GLOBAL log_output = 'TABLE'", "SET sql_log_bin = 0",
		"TRUNCATE mysql.general_log", "SET sql_log_bin = 1", "SET GLOBAL general_log = ON")
	return func(form string) int {
		d.t.Helper()
		d.exec("SET GLOBAL general_log = OFF")
		r, err := d.conn.Query(d.t.Context(),
			"SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '"+form+"'")
		must(d.t, err)
		n, err := strconv.Atoi(string(r.Rows[0][0]))
		must(d.t, err)
		return n
	}
}

// writeLoose changes rows of a table without an index, each of which costs a scan, and adds rows.
func writeLoose(
	t *testing.T, stopping *atomic.Bool, changes *atomic.Int64, conn *mysql.Conn, name string,
	w int,
) {
	if err := conn.Exec(t.Context(), "USE `"+name+"`"); err != nil {
		t.Error(err)
	}
	for n := 0; !stopping.Load(); n++ {
		id := (n*7919 + w) % scanRows
		for _, sql := range []string{
			fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", scanRows+2*n+w),
			fmt.Sprintf("UPDATE t SET v = v + 1 WHERE id = %d", id),
			fmt.Sprintf("DELETE FROM t WHERE id = %d", id+1),
		} {
			err := conn.Exec(t.Context(), sql)
			if err != nil && !mysql.IsCode(err, mysql.CodeDeadlock) &&
				!mysql.IsCode(err, mysql.CodeLockTimeout) {
				t.Errorf("%s: %v", sql, err)
				return
			}
			changes.Add(1)
		}
	}
}

// If one statement changes more rows than fit into the dirty keys, the table is read in pages.
func testScanOverflow(t *testing.T, d *database) {
	const rows = 40
	d.exec("CREATE TABLE t (id INT NOT NULL, v INT)")
	insertRows(d, rows)
	defer pipelines.SetDirtyKeyBytes(1000)()
	m := newMemory()
	changed := false
	m.After = func(u *sink.Unit) error {
		if changed {
			return nil
		}
		changed = true
		d.exec("UPDATE t SET v = -v")
		return nil
	}
	r := start(t, d.config(`.*": {}`, `.t": {key_columns: [id]}`, "chunk_rows: 1000",
		"chunk_rows: 4"), m, "")
	m.waitAt(t, d.end())
	waitFor(t, "the table is loaded",
		func() bool { return m.progress(t).Phase == sink.Streaming })
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if n := r.pipeline.Stats().Loaded; n != rows {
		t.Errorf("%d rows were loaded, want each counted once, %d", n, rows)
	}
}
