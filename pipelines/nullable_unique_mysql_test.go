package pipelines_test

import (
	"maps"
	"strings"
	"testing"
)

// A look-up key may consist of a unique column that may be NULL. When the unique key is dropped,
// the mapping does not fit the table any more.
func testNullableUnique(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE u (id INT PRIMARY KEY, phone VARCHAR(20) UNIQUE)",
		"INSERT INTO u VALUES (1, '555'), (2, NULL), (3, NULL), (4, '777')")
	c := d.config("sink:", `  "`+d.name+`.u": {write: [{string: "phone:{phone}", `+
		`value: "{id}", when_null: skip}]}`+"\nsink:")
	m := newMemory()
	r := start(t, c, m, "")
	check := func(when string, want map[string]string) {
		t.Helper()
		r.mustEqual(d, &c, m, when)
		got := make(map[string]string)
		m.Keys.Each("phone:", func(key string) {
			value, _ := m.Keys.Get(key)
			got[strings.TrimPrefix(key, "phone:")] = string(value)
		})
		if !maps.Equal(got, want) {
			t.Errorf("%s: the phones are %v, want %v", when, got, want)
		}
	}
	check("the load", map[string]string{"555": "1", "777": "4"})
	d.exec("UPDATE u SET phone = NULL WHERE id = 1", "UPDATE u SET phone = '555' WHERE id = 2",
		"DELETE FROM u WHERE id = 4", "INSERT INTO u VALUES (5, NULL), (6, '888')")
	check("changes", map[string]string{"555": "2", "888": "6"})
	r.kill()
	d.exec("UPDATE u SET phone = '999' WHERE id = 6")
	r = start(t, c, m, "")
	check("a restart", map[string]string{"555": "2", "999": "6"})
	d.exec("ALTER TABLE u DROP INDEX phone",
		"INSERT INTO t VALUES (1, 1)")
	m.waitAt(t, d.end())
	faults := r.pipeline.Stats().Quarantined
	if len(faults) != 1 || !strings.Contains(faults[0].Reason, "unique NOT NULL key") {
		t.Errorf("without the unique key, status shows %+v", faults)
	}
	d.exec("UPDATE u SET phone = id", "ALTER TABLE u ADD UNIQUE phone (phone)")
	check("the key is there again", map[string]string{
		"1": "1", "2": "2", "3": "3", "5": "5", "6": "6",
	})
}
