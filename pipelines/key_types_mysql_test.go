package pipelines_test

import (
	"strings"
	"testing"

	"rowfall/replication/resp"
)

// A key of another type at the place of a row puts the table into quarantine, whether the stream or
// a job finds it, and within a transaction that is split, too. The key stays, and the other tables
// continue.
func testKeyTypes(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 4")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	m.set(t, resp.AppendCommand(nil, "SET", "t:8", "not ours"))
	inQuarantine := func(when string) {
		t.Helper()
		waitFor(t, "the table is in quarantine: "+when, func() bool {
			if r.over() {
				t.Fatal(r.err)
			}
			faults := r.pipeline.Stats().Quarantined
			return len(faults) == 1 && strings.Contains(faults[0].Reason, `"t:8" holds a string`)
		})
		m.waitAt(t, d.end())
		mustBeEqual(t, m.rows("u"), d.rows("u"))
		if got, err := m.query(t.Context(), []byte("GET"), []byte("t:8")); err != nil ||
			string(got.Text) != "not ours" {
			t.Errorf("%s: the key holds %s, %v", when, got.Text, err)
		}
	}
	d.exec("INSERT INTO u VALUES (1, 1)", "INSERT INTO t VALUES (2, 2)",
		"INSERT INTO t VALUES (8, 8)", "INSERT INTO u VALUES (2, 2)")
	r.mustFail(`"t:8" holds a string`, d.name+".t goes into quarantine")
	r = r.again()
	inQuarantine("a row of the stream")
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the job has read the table", func() bool {
		return len(m.rows("t")) > 1 && len(r.pipeline.Stats().Quarantined) == 1
	})
	inQuarantine("a row of a job")

	m.set(t, resp.AppendCommand(nil, "DEL", "t:8"))
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "the key is gone")
	d.exec("DELETE FROM t WHERE id = 8")
	m.waitAt(t, d.end())
	m.set(t, resp.AppendCommand(nil, "SET", "t:8", "not ours"))
	d.exec("BEGIN", "INSERT INTO t VALUES (3, 3), (4, 4)", "INSERT INTO u VALUES (3, 3), (4, 4)",
		"INSERT INTO u VALUES (5, 5)", "INSERT INTO t VALUES (8, 8)",
		"INSERT INTO u VALUES (6, 6), (7, 7)", "COMMIT")
	r.mustFail(`"t:8" holds a string`)
	r = r.again()
	inQuarantine("within a split transaction")
	m.set(t, resp.AppendCommand(nil, "DEL", "t:8"))
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "the key is gone again")

	// Until a table whose TRUNCATE was ignored is read again, the stream writes in mode Replace.
	r.kill()
	c = d.config(`.*": {}`, `.*": {on_truncate: ignore}`)
	r = start(t, c, m, "")
	d.exec("TRUNCATE TABLE t")
	m.waitAt(t, d.end())
	m.set(t, resp.AppendCommand(nil, "DEL", "t:8"))
	m.set(t, resp.AppendCommand(nil, "SET", "t:8", "not ours"))
	d.exec("INSERT INTO t VALUES (8, 8)")
	inQuarantine("a row in mode Replace")
}
