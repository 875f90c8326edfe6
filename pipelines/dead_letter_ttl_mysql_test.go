package pipelines_test

import (
	"strconv"
	"testing"

	"rowfall/sink"
	"rowfall/transform"
)

// fieldExpiry returns when a field of a shared hash expires, in milliseconds since 1970; 0 if it
// does not.
func (m *memory) fieldExpiry(t *testing.T, key, field string) int64 {
	t.Helper()
	entry := transform.AppendFieldEntry(nil, []byte(key), []byte(field))
	reply, err := m.query(t.Context(), []byte("ZSCORE"),
		[]byte(sink.FieldExpiryKey("test")), entry)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := strconv.ParseFloat(string(reply.Text), 64) // nil has no text
	return int64(at)
}

// expiries returns when the key t:1 and the field 1 of the hash all expire, in milliseconds since
// 1970.
func (m *memory) expiries(t *testing.T) (all [2]int64) {
	t.Helper()
	reply, err := m.query(t.Context(), []byte("PEXPIRETIME"), []byte("t:1"))
	if err != nil {
		t.Fatal(err)
	}
	all[0] = reply.Int
	all[1] = m.fieldExpiry(t, "all", "1")
	return all
}

// The keys of a row with a dead letter keep the expiry that they had. The next change that can be
// applied renews it, and so does a retry that writes the row.
func testDeadLettersWithTTL(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40))", "INSERT INTO t VALUES (1, '1')")
	m := newMemory()
	c := d.config(`.*": {}`, `.*": {on_error: dead_letter, columns: {add: {n: 'int(v ?? "0")'}}, `+
		`write: [{hash: "t:{id}", ttl: 1h}, {hash: all, field: "{id}", value: "{v}", ttl: 2h}]}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	before := m.expiries(t)
	if before[0] <= 0 || before[1] <= 0 {
		t.Fatalf("the expiries are %v", before)
	}
	mustKeep := func(when string) {
		t.Helper()
		m.waitAt(t, d.end())
		r.waitForLetters(m, `"1"`)
		if now := m.expiries(t); now != before {
			t.Errorf("%s: the expiries are %v, want %v", when, now, before)
		}
	}
	mustRenew := func(when string) {
		t.Helper()
		m.waitAt(t, d.end())
		r.waitForLetters(m)
		now := m.expiries(t)
		if now[0] <= before[0] || now[1] <= before[1] {
			t.Errorf("%s: the expiries are %v, and before %v", when, now, before)
		}
		before = now
	}
	retry := func() {
		t.Helper()
		if _, err := r.pipeline.RetryDeadLetters(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	d.exec("UPDATE t SET v = 'bad'")
	mustKeep("a letter")
	retry()
	mustKeep("a retry that fails")
	r.kill()
	r = start(t, c, m, "")
	mustKeep("a restart")
	d.exec("UPDATE t SET v = '2'")
	mustRenew("a change")
	mustBeEqual(t, m.rows("t"), d.rows("t"))

	d.exec("UPDATE t SET v = 'bad'")
	mustKeep("the second letter")
	d.exec("SET SESSION sql_log_bin = 0", "UPDATE t SET v = '3'", "SET SESSION sql_log_bin = 1")
	retry()
	mustRenew("a retry")
	mustBeEqual(t, m.rows("t"), d.rows("t"))

	// A row without a value any more has no key, and no expiry of a field that is gone.
	d.exec("UPDATE t SET v = 'bad'")
	mustKeep("the third letter")
	d.exec("DELETE FROM t")
	m.waitAt(t, d.end())
	r.waitForLetters(m)
	if now := m.expiries(t); now != [2]int64{-2, 0} {
		t.Errorf("without the row, the expiries are %v", now)
	}
}
