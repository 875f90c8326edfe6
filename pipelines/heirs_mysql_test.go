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
