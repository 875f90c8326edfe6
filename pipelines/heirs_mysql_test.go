package pipelines_test

import (
	"fmt"
	"testing"

	"rowfall/sink"
)

// A table that is renamed to another mapped name keeps the keys that both names write: MySQL has
// the rows at every moment. Keys that only the old name writes are removed.
func testRenameWithSameKeys(t *testing.T, d *database) {
	const rows = 30
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, rows)
	m := newMemory()
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 7", `.*": {}`,
		`.*": {write: [{hash: "row:{id}"}, {string: "{table}:v:{v}:{id}", value: "{id}"}, `+
			`{set: all, member: "{id}"}]}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	isMissing := ""
	m.After = func(u *sink.Unit) error {
		members, err := m.query(t.Context(), []byte("SCARD"), []byte("all"))
		if n := len(m.rows("row")); n != rows || members.Int != rows {
			isMissing = fmt.Sprint(n, " keys, ", members.Int, " members, ", err, u.Progress)
		}
		return nil
	}
	d.exec("RENAME TABLE t TO u")
	r.mustEqual(d, &c, m, "a RENAME")
	if _, found := m.Keys.HashFields("row:1"); !found || isMissing != "" {
		t.Errorf("keys of rows were missing: %s", isMissing)
	}
	r.kill()
	isMissing = ""
	d.exec("RENAME TABLE u TO w")
	r = start(t, c, m, "snapshot")
	r.mustEqual(d, &c, m, "--from snapshot")
	if isMissing != "" {
		t.Errorf("--from snapshot: keys of rows were missing: %s", isMissing)
	}
}

// Two tables that exchange their names keep the members of a set that they share: at every moment
// MySQL has the rows that yield them.
func testSwapWithSharedSet(t *testing.T, d *database) {
	d.exec("CREATE TABLE a (id INT PRIMARY KEY, v INT)", "CREATE TABLE b LIKE a",
		"INSERT INTO a VALUES (1, 1), (2, 2), (3, 3), (4, 1)",
		"INSERT INTO b VALUES (11, 11), (12, 12), (13, 3), (14, 11)")
	// Both tables have as many rows: a job that removes over half of its keys would wait.
	const more = 300
	for table, first := range map[string]int{"a": 101, "b": 1001} {
		insert := fmt.Sprintf("INSERT INTO %s VALUES (%d, %[2]d)", table, first)
		for id := first + 1; id < first+more; id++ {
			insert += fmt.Sprintf(", (%d, %[1]d)", id)
		}
		d.exec(insert)
	}
	m := newMemory()
	// One table is read after the other.
	c := d.config("chunk_rows: 1000", "chunk_rows: 50, parallel: 1",
		"max_atomic_rows: 10000", "max_atomic_rows: 3", `.*": {}`,
		`.*": {write: [{set: all, member: "{v}", shared: true}]}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	missing := ""
	m.After = func(u *sink.Unit) error {
		members, err := m.query(t.Context(), []byte("SCARD"), []byte("all"))
		if members.Int != 5+2*more && missing == "" {
			missing = fmt.Sprint(members.Int, " members are there, ", err, u.Progress)
		}
		return nil
	}
	d.exec("RENAME TABLE a TO x, b TO a, x TO b")
	r.mustEqual(d, &c, m, "the exchange")
	if missing != "" {
		t.Errorf("members were missing: %s", missing)
	}
	for member, want := range map[string]int64{"1": 2, "2": 1, "3": 2, "11": 2, "12": 1} {
		key := sink.ReferencesKey("test", []byte("all"), []byte(member))
		rows, err := m.query(t.Context(), []byte("SCARD"), []byte(key))
		if err != nil || rows.Int != want {
			t.Errorf("%d rows yield the member %s, want %d (%v)", rows.Int, member, want, err)
		}
	}
	m.After = nil
	d.exec("DELETE FROM a WHERE id = 13", "DELETE FROM b WHERE v = 1")
	r.mustEqual(d, &c, m, "rows that leave")
}
