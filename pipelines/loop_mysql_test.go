package pipelines_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rowfall/sink"
)

// A transaction that is larger than a unit is split. Wherever the process ends between the parts,
// each row is applied exactly once.
func testSplit(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1000, 0)")
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 10")
	const rows = 35
	for crash := range 10 {
		for _, applied := range []bool{false, true} {
			d.exec("DELETE FROM t WHERE id < 1000")
			m := newMemory()
			r := start(t, c, m, "")
			m.waitAt(t, d.end())
			r.kill()

			begin, calls := len(m.Units(0)), 0
			hook := func(*sink.Unit) error {
				if calls++; calls == crash+1 {
					return errCrash
				}
				return nil
			}
			if applied {
				m.After = hook
			} else {
				m.Before = hook
			}
			// The statements have different times, as those of a long transaction have.
			d.exec("BEGIN")
			for id := 1; id <= rows; id++ {
				d.exec(fmt.Sprintf("SET timestamp = %d", 1700000000+id),
					fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id*id))
			}
			d.exec("COMMIT", "SET timestamp = DEFAULT")
			end := d.end()
			for !m.isAt(t, end) {
				r = start(t, c, m, "")
				waitFor(t, "all is applied or the run ends", func() bool {
					return r.over() || m.isAt(t, end)
				})
				if r.over() && !errors.Is(r.err, errCrash) {
					t.Fatal(r.err)
				}
				r.kill()
				m.Before, m.After = nil, nil
			}
			mustBeEqual(t, m.rows("t"), d.rows("t"))
			var all strings.Builder
			parts := 0
			for _, u := range m.Units(begin) {
				all.WriteString(u.Commands)
				if u.Progress.Partial > 0 {
					parts++
				}
			}
			for id := 1; id <= rows; id++ {
				if n := strings.Count(all.String(), fmt.Sprintf("\r\nt:%d\r\n", id)); n != 1 {
					t.Errorf("crash %d (applied: %v): row %d was written %d times", crash, applied,
						id, n)
				}
			}
			if parts != 3 {
				t.Errorf("%d parts before the last, want 3", parts)
			}
			if p := m.progress(t); p.Partial != 0 || p.Row != 0 {
				t.Errorf("the position still says partial %d, row %d", p.Partial, p.Row)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// A transaction without mapped rows moves the position soon, even if nothing follows.
func testQuiet(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE no_key (v INT)",
		"INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO t VALUES (2, 2)", "INSERT INTO no_key VALUES (1)")
	m.waitAt(t, d.end())
}

// A committed transaction does not wait for the next one that arrives slowly, and its unit
// contains nothing of that one.
func testSlowTransaction(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000))", "INSERT INTO t VALUES (0, 'x')")
	link := newSlowLink(t, d.addr)
	m := newMemory()
	start(
		t, d.config(fmt.Sprintf("addresses: [%q]", d.addr),
			fmt.Sprintf("addresses: [%q], tls: {mode: disabled}", link.listener.Addr())),
		m,
		"",
	)
	m.waitAt(t, d.end())

	link.set(false, 0)
	d.exec("INSERT INTO t VALUES (1, 'small')")
	small := d.end()
	d.exec("BEGIN")
	for id := 2; id < 200; id++ {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s')", id, strings.Repeat("large", 300)))
	}
	d.exec("COMMIT")
	link.set(false, 100_000)
	m.waitAt(t, small)
	if got := m.rows("t"); got["1"] != "small" || len(got) != 2 {
		t.Errorf("%d rows while the next transaction is under way, want 2", len(got))
	}
	link.set(true, 0)
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}
