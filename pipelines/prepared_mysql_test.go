package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// prepareXA prepares an XA transaction in a session of its own, which ends. It waits until the
// server has no such session any more: an XA COMMIT at the same time may be lost on a MariaDB.
func (d *database) prepareXA(xid string, statements ...string) {
	d.t.Helper()
	c := d.dial()
	id, err := c.Query(d.t.Context(), "SELECT CONNECTION_ID() id")
	must(d.t, err)
	all := append([]string{"USE `" + d.name + "`", "XA START '" + xid + "'"}, statements...)
	for _, sql := range append(all, "XA END '"+xid+"'", "XA PREPARE '"+xid+"'") {
		if err := c.Exec(d.t.Context(), sql); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
	must(d.t, c.Close())
	waitFor(d.t, "the session has ended", func() bool {
		list, err := d.conn.Query(d.t.Context(), "SELECT COUNT(*) n FROM "+
			"information_schema.processlist WHERE id = "+id.Text(0, "id"))
		must(d.t, err)
		return list.Text(0, "n") == "0"
	})
}

// prepared returns the number of XA transactions in the state of the data.
func (m *memory) prepared() (n int) {
	for piece := range sink.Pieces(m.Keys, "test") {
		if strings.HasPrefix(piece, tablestate.PreparedPrefix) {
			n++
		}
	}
	return n
}

// mustEndXA checks that the data are those of the tables, and that nothing of an XA transaction is
// left in the state.
func (d *database) mustEndXA(r *running, m *memory) {
	d.t.Helper()
	r.waitAt(m, d.end())
	waitFor(d.t, "the jobs are done", func() bool { return len(r.pipeline.Stats().Jobs) == 0 })
	mustBeEqual(d.t, m.rows("t"), d.rows("t"))
	if n := m.prepared(); n > 0 {
		d.t.Errorf("%d XA transactions are left in the state", n)
	}
	m.Keys.Each(sink.BlockKey("test", tablestate.PreparedPrefix), func(key string) {
		d.t.Errorf("%s is left", key)
	})
}

// Rows of an XA transaction in two phases become visible at its XA COMMIT, and those of one that
// was rolled back never do.
func testXA(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)",
		"CREATE TABLE no_key (v INT)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	r.waitAt(m, d.end())
	before := d.rows("t")

	d.prepareXA("a", "UPDATE t SET v = 10 WHERE id = 1", "INSERT INTO t VALUES (3, 3)")
	d.prepareXA("b", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, 4)")
	d.prepareXA("c", "INSERT INTO no_key VALUES (1)")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), before)
	if n := m.prepared(); n != 3 {
		t.Errorf("%d XA transactions are in the state, want 3", n)
	}
	d.exec("XA COMMIT 'b'")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("INSERT INTO t VALUES (5, 5)")
	d.exec("XA ROLLBACK 'a'")
	d.exec("XA COMMIT 'c'")
	d.exec("XA START 'd'", "INSERT INTO t VALUES (6, 6)", "XA END 'd'", "XA COMMIT 'd' ONE PHASE")
	d.mustEndXA(r, m)

	// Transactions without changes are not searched for in older files.
	d.prepareXA("e", "SELECT * FROM t")
	d.prepareXA("f")
	d.prepareXA("g", "UPDATE t SET v = 4 WHERE id = 4")
	for _, xid := range []string{"e", "f", "g"} {
		_ = d.conn.Exec(t.Context(), "XA COMMIT '"+xid+"'") // the server may have none
	}
	d.exec("INSERT INTO t VALUES (8, 8)")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if jobs := r.pipeline.Stats().Jobs; len(jobs) > 0 {
		t.Errorf("the tables are read again: %+v", jobs)
	}

	// The same XID is used again, and the process ends between the two phases.
	d.prepareXA("a", "UPDATE t SET v = 11 WHERE id = 1")
	r.waitAt(m, d.end())
	r.kill()
	d.exec("INSERT INTO t VALUES (7, 7)")
	r = start(t, d.config(), m, "")
	r.waitAt(m, d.end())
	d.exec("XA COMMIT 'a'")
	d.mustEndXA(r, m)
	if jobs := r.pipeline.Stats().Rows; jobs == 0 {
		t.Error("no row was streamed")
	}
	if m.rows("t")["1"] != "11" {
		t.Errorf("the rows are %v", m.rows("t"))
	}
}

// A large XA transaction is kept in parts, and applied in parts. Wherever the process ends, each
// row is applied, also if the transaction has one phase.
func testLargeXA(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT, filler LONGTEXT)",
		"INSERT INTO t VALUES (1000, 0, '')")
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 10")
	filler := ""
	for id := 1; id <= 25; id++ {
		filler += fmt.Sprintf(", (%d, %d, REPEAT('x', 100000))", id, id*id)
	}
	insert := "INSERT INTO t VALUES " + filler[2:]
	for i, phases := range []string{"two", "one"} {
		for _, crash := range []int{0, 2, 4} {
			d.exec("DELETE FROM t WHERE id < 1000")
			m := newMemory()
			r := start(t, c, m, "")
			r.waitAt(m, d.end())
			r.kill()
			calls := 0
			hook := func(*sink.Unit) error {
				if calls++; calls == crash+1 {
					return errCrash
				}
				return nil
			}
			if crash/2%2 == i {
				m.After = hook
			} else {
				m.Before = hook
			}
			if phases == "two" {
				d.prepareXA("large", insert)
				d.exec("XA COMMIT 'large'")
			} else {
				d.exec("XA START 'large'", insert, "XA END 'large'", "XA COMMIT 'large' ONE PHASE")
			}
			end := d.end()
			r = start(t, c, m, "")
			waitFor(t, "all is applied or the run ends", func() bool {
				return r.over() || m.isAt(t, end)
			})
			r.kill() // a crash in the last unit may not have ended the run yet
			if r.err != nil && !errors.Is(r.err, errCrash) && !errors.Is(r.err, context.Canceled) {
				t.Fatal(r.err)
			}
			m.Before, m.After = nil, nil
			r = start(t, c, m, "")
			d.mustEndXA(r, m)
			r.kill()
			if t.Failed() {
				t.Fatalf("%s phases, crash at unit %d", phases, crash+1)
			}
		}
	}
}

// The data begin between an XA PREPARE and its XA COMMIT. The rows are found in an older binlog
// file. If no file has them, the tables are read again.
func testXABeforeStart(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)",
		"CREATE TABLE no_key (v INT)")
	d.prepareXA("a", "UPDATE t SET v = 9 WHERE id = 1")
	d.exec("XA ROLLBACK 'a'")
	d.prepareXA("a", "UPDATE t SET v = 10 WHERE id = 1", "INSERT INTO t VALUES (3, 3)")
	d.prepareXA("b", "INSERT INTO t VALUES (4, 4)")
	d.prepareXA("c", "INSERT INTO no_key VALUES (1)")
	d.exec("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	d.prepareXA("d", "INSERT INTO t VALUES (5, 5)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	r.waitAt(m, d.end())
	d.exec("XA COMMIT 'a'")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	for _, job := range r.pipeline.Stats().Jobs {
		t.Errorf("%s is read again: %s", job.Table, job.Reason)
	}
	if n := m.prepared(); n != 3 {
		t.Errorf("%d XA transactions are in the state, want the other 3", n)
	}
	d.exec("XA ROLLBACK 'b'")
	d.exec("XA COMMIT 'c'")
	d.exec("XA COMMIT 'd'")
	d.mustEndXA(r, m)

	// A move of the position discards what is kept: the XID may have another transaction there.
	for id, from := range map[int]string{6: "now", 7: "snapshot"} {
		d.prepareXA("f", fmt.Sprintf("INSERT INTO t VALUES (%d, 6)", id))
		r.waitAt(m, d.end())
		r.kill()
		d.exec("INSERT INTO no_key VALUES (2)")
		r = startFrom(t, d.config(), m, from)
		if n := m.prepared(); n > 0 {
			t.Errorf("after --from %s, %d XA transactions are in the state", from, n)
		}
		r.waitAt(m, d.end())
		d.exec("XA COMMIT 'f'")
		d.mustEndXA(r, m)
	}
	r.kill()

	// The file with the XA PREPARE is purged.
	d.prepareXA("e", "UPDATE t SET v = 12 WHERE id = 1")
	d.exec("FLUSH BINARY LOGS")
	d.purge()
	m = newMemory()
	r = start(t, d.config(), m, "")
	r.waitAt(m, d.end())
	d.exec("XA COMMIT 'e'")
	waitFor(t, "the row is that of the server", func() bool {
		return maps.Equal(m.rows("t"), d.rows("t"))
	})
	d.mustEndXA(r, m)
}

// If a transaction that changed tables without transactions is rolled back, the binlog does not
// show which rows stayed. The tables of the transaction go into quarantine.
func testRolledBack(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "CREATE TABLE a LIKE t",
		"ALTER TABLE a ENGINE=MyISAM")
	m := newMemory()
	r := start(t, d.config(), m, "")
	r.waitAt(m, d.end())
	d.exec("BEGIN", "INSERT INTO t VALUES (2, 2)", "INSERT INTO a SELECT id, v FROM t",
		"ROLLBACK", "INSERT INTO u VALUES (1, 1)")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("u"), d.rows("u"))
	for _, fault := range r.pipeline.Stats().Quarantined {
		_, err := r.pipeline.Backfill(t.Context(), fault.Table)
		must(t, err)
	}
	for _, table := range []string{"t", "a"} {
		waitFor(t, table+" is that of the server", func() bool {
			return maps.Equal(m.rows(table), d.rows(table))
		})
	}
}

// An XA transaction stays prepared when the server and the process end, also without a shutdown.
func TestXARestart(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			db := servertest.Database(t, kind, servers.DatabaseOptions{})
			d := newDatabase(t, db)
			d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
			m := newMemory()
			r := start(t, d.config(), m, "")
			r.waitAt(m, d.end())
			for i, isKilled := range []bool{true, false} {
				d.prepareXA("a", fmt.Sprintf("INSERT INTO t VALUES (%d, 2)", 10+i))
				d.prepareXA("b", fmt.Sprintf("INSERT INTO t VALUES (%d, 3)", 20+i))
				r.waitAt(m, d.end())
				r.kill()
				_ = d.conn.Close()
				if isKilled {
					must(t, db.Kill())
				}
				must(t, db.Restart(t.Context()))
				d.conn = d.dial()
				d.exec("USE `" + d.name + "`")
				r = start(t, d.config(), m, "")
				d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 4)", 30+i))
				d.exec("XA COMMIT 'a'")
				d.exec("XA ROLLBACK 'b'")
				d.mustEndXA(r, m)
			}
		})
	}
}
