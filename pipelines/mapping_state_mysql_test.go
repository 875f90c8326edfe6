package pipelines_test

import (
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
)

// Data of a version that stored only the mapping's fingerprint are resumed, and get the canonical
// form.
func testOlderState(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	m.set(t, resp.AppendCommand(nil, "HDEL", sink.StateKey("test"), "meaning", "crc32c:meaning"))
	other := d.config(".*\": {}", ".*\": {where: v > 0}")
	start(
		t, other, m, "",
	).mustStop("test.yaml: the data was built with another mapping than this file's; put the old " +
		"mapping back")
	r = start(t, d.config(), m, "")
	d.exec("INSERT INTO t VALUES (2, 2)")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	start(
		t, other, m, "",
	).mustStop("test.yaml:6: tables.\"" + d.name + ".*\".where: the data was built with another " +
		"mapping than this file's, which does not have this")
}
