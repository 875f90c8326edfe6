package pipelines_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/pipelines"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// letters returns the rows that have dead letters, with the reasons, as the data hold them.
func (m *memory) letters(t *testing.T) map[string]string {
	t.Helper()
	list, err := pipelines.LettersIn(sink.Pieces(m.Keys, "test"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, l := range list {
		found[l.Row] = l.Reason
	}
	return found
}

// waitForLetters waits until exactly these rows have letters, and no job runs.
func (r *running) waitForLetters(m *memory, rows ...string) {
	r.t.Helper()
	waitFor(r.t, fmt.Sprintf("the letters are those of %v", rows), func() bool {
		if r.over() {
			r.t.Fatalf("the run has ended: %v", r.err)
		}
		letters := m.letters(r.t)
		for _, row := range rows {
			if letters[row] == "" {
				return false
			}
		}
		stats := r.pipeline.Stats()
		return len(letters) == len(rows) && len(stats.Jobs) == 0 &&
			stats.DeadLetters == int64(len(rows))
	})
}

// Rows that cannot be applied get dead letters, by the initial load, by the stream and by jobs.
// Their keys stay as they were. Jobs and changes that can apply a row clear its letter.
func testDeadLetters(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40), note VARCHAR(9), UNIQUE (v))",
		"INSERT INTO t VALUES (1, '1', 'a'), (2, 'two', 'b'), (3, '3', NULL), (4, '4', 'd')")
	m := newMemory()
	c := d.config(`.*": {}`, `.*": {on_error: dead_letter, columns: {add: {n: `+
		`'int(v ?? "0") + 1'}, max_bytes: {note: 3}, too_long: dead_letter}, write: [`+
		`{hash: "t:{id}"}, {set: "by:{v}", member: "{id}", when_null: skip}, `+
		`{set: all, member: "{v}:{id}", when_null: skip}]}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.waitForLetters(m, `"2"`)
	want := map[string]string{"1": "1", "3": "3", "4": "4"}
	mustBeEqual(t, m.rows("t"), want)

	d.exec("UPDATE t SET v = 'x1' WHERE id = 1", "UPDATE t SET note = 'too long' WHERE id = 3",
		"INSERT INTO t VALUES (5, '5', 'too long')", "UPDATE t SET note = 'x' WHERE id = 4")
	m.waitAt(t, d.end())
	r.waitForLetters(m, `"1"`, `"2"`, `"3"`, `"5"`)
	mustBeEqual(t, m.rows("t"), want)
	r.mustEqual(d, &c, m, "rows with letters")
	data, err := pipelines.ReadDataset(t.Context(), d.conn, &c.Mapping)
	must(t, err)
	failed := []string{d.name + `.t "1"`, d.name + `.t "2"`, d.name + `.t "3"`, d.name + `.t "5"`}
	if got := data.FailedRows(); !slices.Equal(got, failed) {
		t.Errorf("the rows that cannot be applied are %v, want %v", got, failed)
	}
	m.set(t, resp.AppendCommand(nil, "SADD", "by:x", "7")) // of no row
	must(t, data.UseLetters(sink.Pieces(m.Keys, "test")))
	diffs, err := data.Compare(t.Context(), m, 10)
	if err != nil || len(diffs) != 1 {
		t.Errorf("%v, and the differences are %v; want one for a member of no row", err, diffs)
	}
	m.set(t, resp.AppendCommand(nil, "DEL", "by:x"))
	if reason := m.letters(t)[`"3"`]; !strings.Contains(reason, "column note: the value has 8") ||
		strings.Contains(reason, "too long (") {
		t.Errorf("the reason is %s", reason)
	}

	// Each job finds the faults again, and keeps the keys and the letters.
	for _, job := range []func() error{
		func() error { _, err := r.pipeline.RetryDeadLetters(t.Context(), 0); return err },
		func() error { _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); return err },
		func() error { r.kill(); r = start(t, c, m, ""); return nil },
	} {
		if err := job(); err != nil {
			t.Fatal(err)
		}
		d.exec("UPDATE t SET note = IF(note = 'x', 'y', 'x') WHERE id = 4")
		m.waitAt(t, d.end())
		r.waitForLetters(m, `"1"`, `"2"`, `"3"`, `"5"`)
		mustBeEqual(t, m.rows("t"), want)
		if !hasMember(t, m, "by:1", "1") || !hasMember(t, m, "all", "1:1") {
			t.Error("a job has removed keys of the row with a letter")
		}
	}

	// Changes that can be applied clear letters: by value, by DELETE, by another primary key.
	d.exec("UPDATE t SET v = '11' WHERE id = 1", "DELETE FROM t WHERE id = 5",
		"UPDATE t SET id = 6, v = '22' WHERE id = 2")
	m.waitAt(t, d.end())
	r.waitForLetters(m, `"3"`)
	d.exec("UPDATE t SET note = 'ok'")
	r.mustEqual(d, &c, m, "the last letter")
	r.waitForLetters(m)

	// A row that is gone while its table is in quarantine loses its letter by the job.
	d.exec("UPDATE t SET v = 'x1' WHERE id = 1", "TRUNCATE t", "INSERT INTO t VALUES (7, '7', '')",
		"UPDATE t SET v = 'bad' WHERE id = 7")
	m.waitAt(t, d.end())
	r.waitForLetters(m, `"7"`)
	d.exec("SET SESSION sql_log_bin = 0", "DELETE FROM t", "SET SESSION sql_log_bin = 1")
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); err != nil {
		t.Fatal(err)
	}
	r.waitForLetters(m)
	r.mustEqual(d, &c, m, "a row that is gone")
	if rows := m.rows("t"); !maps.Equal(rows, map[string]string{}) {
		t.Errorf("the rows are %v", rows)
	}
}

// hasMember reports whether a set has a member.
func hasMember(t *testing.T, m *memory, key, member string) bool {
	t.Helper()
	reply, err := m.query(t.Context(), []byte("SISMEMBER"), []byte(key), []byte(member))
	if err != nil {
		t.Fatal(err)
	}
	return reply.Int == 1
}
