package pipelines_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/replication/resp"
)

// waitForJobs waits until the pipeline has no jobs.
func (r *running) waitForJobs() {
	r.t.Helper()
	waitFor(r.t, "no job is left", func() bool {
		if !r.pipeline.Stats().Streaming {
			return r.over()
		}
		for _, j := range r.pipeline.Stats().Jobs {
			if strings.HasPrefix(j.State, "failed") {
				r.t.Fatalf("a job has failed: %+v", j)
			}
		}
		return len(r.pipeline.Stats().Jobs) == 0 || r.over()
	})
}

// damage changes what the sink holds, as nothing in the binlog does.
func (m *memory) damage(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		m.set(t, resp.AppendCommand(nil, strings.Fields(c)...))
	}
}

// keyedTables have keys of several kinds. Rows of s are in a set that the key does not tell.
func keyedTables(d *database) (edits []string) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE p (a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, "+
			"b DATETIME(3), c BINARY(3), v INT, PRIMARY KEY (a, b, c))",
		"CREATE TABLE s (id ENUM('x','y','z') PRIMARY KEY, v INT)")
	insertRows(d, 2500)
	d.exec("INSERT INTO p VALUES ('Ä:%', '2026-01-02 03:04:05.678', 'a', 1), "+
		"('b', '2026-01-02 03:04:05', X'0000FF', 2), ('', '2026-01-02', '', 3)",
		"INSERT INTO s VALUES ('x', 1), ('y', 2)")
	return []string{"sink:", `  "` + d.name + `.s": {write: [{hash: "s:{id}"}, ` +
		`{set: "by:{v}", member: "{id}"}]}` + "\nsink:"}
}

// The rows that a condition selects are corrected, with traffic beside it, and no other rows.
// Errors of the server about the condition come at once. A restart continues the search.
func testBackfillWhere(t *testing.T, d *database) {
	edits := keyedTables(d)
	m := newMemory()
	c := d.config(edits...)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	backfill := func(table, condition string) error {
		_, err := r.pipeline.BackfillWhere(t.Context(), d.name+"."+table, condition)
		return err
	}
	m.damage(t, "DEL t:1 t:10 t:2000", "HSET t:11 v wrong extra 1", "HSET t:12 v wrong")
	for _, sql := range []string{"nothing = 1", "id = ", "1) OR (1", "1; DROP TABLE t"} {
		if err := backfill("t", sql); err == nil {
			t.Errorf("the condition %q is accepted", sql)
		}
	}
	if err := backfill("nothing", "1"); err == nil || !strings.Contains(err.Error(), "not mapped") {
		t.Errorf("an unknown table: %v", err)
	}
	must(t, backfill("t", "id BETWEEN 2 AND 2400 AND `v` <> 0 -- all of them"))
	for id := 3; id < 60; id++ {
		d.exec(fmt.Sprintf("UPDATE t SET v = v + 1 WHERE id = %d", id))
	}
	r.waitForJobs()
	m.waitAt(t, d.end())
	got, want := m.rows("t"), d.rows("t")
	if _, found := got["1"]; found {
		t.Error("a row was written that the condition does not select")
	}
	delete(want, "1")
	mustBeEqual(t, got, want)
	must(t, backfill("t", "id = 1"))
	m.damage(t, "DEL p:Ä%3A%25:2026-01-02%2003%3A04%3A05.678:a", "SADD by:7 x", "SREM by:2 y")
	must(t, backfill("p", "v > 0"))
	must(t, backfill("s", "id <> 'z'"))
	r.kill()
	r = start(t, c, m, "")
	r.waitForJobs()
	r.mustEqual(d, &c, m, "a backfill of other keys")
}

// A replay corrects the rows that a stretch of the binlog has touched, also those that are gone,
// and no others. A table that was altered since is read as a whole.
func testReplay(t *testing.T, d *database) {
	edits := keyedTables(d)
	m := newMemory()
	c := d.config(edits...)
	r := start(t, c, m, "")
	before := d.end()
	d.exec("UPDATE t SET v = 7 WHERE id < 2000", "DELETE FROM t WHERE id = 30",
		"UPDATE t SET id = 9000 WHERE id = 31", "UPDATE p SET a = 'ä:%', v = 5 WHERE v = 1",
		"UPDATE s SET v = 9 WHERE id = 'x'", "DELETE FROM s WHERE id = 'y'")
	after := d.end()
	d.exec("UPDATE t SET v = 8 WHERE id = 2400")
	m.waitAt(t, d.end())
	m.damage(t, "DEL t:1 t:2400", "HSET t:30 v 1", "HSET t:31 v 1", "HSET t:9000 v 1",
		"SADD by:1 x", "SADD by:2 y", "HSET s:y v 3", "HSET t:77 extra 1")
	replay := func(from, to string) {
		t.Helper()
		if _, err := r.pipeline.Replay(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		r.waitForJobs()
	}
	place := func(p binlog.Position) string { return fmt.Sprintf("%s:%d", p.File, p.Offset) }
	replay(place(before), place(after))
	got, want := m.rows("t"), d.rows("t")
	if _, found := got["2400"]; found {
		t.Error("a row was written that the stretch has not touched")
	}
	delete(want, "2400")
	mustBeEqual(t, got, want)
	replay(after.String(), "")
	r.mustEqual(d, &c, m, "two replays")

	d.exec("ALTER TABLE t MODIFY v INT FIRST")
	m.waitAt(t, d.end())
	r.waitForJobs()
	m.damage(t, "DEL t:2 t:2300")
	replay(before.String(), after.String())
	r.mustEqual(d, &c, m, "a replay of rows before an ALTER")
	for _, bad := range [][2]string{
		{after.String(), before.String()},
		{"nothing", ""},
		{"time:2199-01-01T00:00:00Z", ""},
		{"time:2001-01-01T00:00:00Z", ""},
	} {
		if _, err := r.pipeline.Replay(t.Context(), bad[0], bad[1]); err == nil {
			t.Errorf("a replay from %q to %q is accepted", bad[0], bad[1])
		}
	}
}

// A time stands for the position before the first transaction that did not commit earlier.
func testPositionTime(t *testing.T, d *database) {
	wait := func() time.Time { // times of a server may have whole seconds
		now := func() string {
			r, err := d.conn.Query(t.Context(), "SELECT UNIX_TIMESTAMP() + SLEEP(1.1)")
			must(t, err)
			return string(r.Rows[0][0])
		}
		var seconds float64
		_, err := fmt.Sscan(now(), &seconds)
		must(t, err)
		return time.Unix(int64(seconds)+1, 0)
	}
	// The search for a time passes transactions that a pipeline rejects.
	d.exec("CREATE TABLE rejected (id INT PRIMARY KEY)", "SET SESSION binlog_format = STATEMENT",
		"INSERT INTO rejected VALUES (1)", "SET SESSION binlog_format = ROW")
	times := []time.Time{wait()}
	wait()
	for i := range 3 {
		// A CREATE TABLE tells the columns of the rows that follow.
		table := fmt.Sprintf("t%d", i)
		d.exec("FLUSH BINARY LOGS", "CREATE TABLE "+table+" (id INT PRIMARY KEY, v INT)",
			"INSERT INTO "+table+" VALUES (1, 1)", "INSERT INTO "+table+" VALUES (2, 1)")
		times = append(times, wait())
	}
	for i, at := range times {
		m := newMemory()
		r := start(t, d.config("user: rowfall}", fmt.Sprintf("user: rowfall, start: %q}",
			"time:"+at.UTC().Format(time.RFC3339))), m, "")
		r.waitAt(m, d.end())
		r.kill()
		got := 0
		for n := range 3 {
			got += len(m.rows(fmt.Sprintf("t%d", n)))
		}
		if got != 6-2*i {
			t.Errorf("from %v on there are %d rows, want %d", at, got, 6-2*i)
		}
	}
}
