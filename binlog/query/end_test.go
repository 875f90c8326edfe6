package query_test

import (
	"testing"

	"rowfall/binlog/query"
)

func testEnd(t *testing.T, s server) {
	c := s.dial(t)
	before, err := query.End(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, "CREATE TABLE shop.moved (a int)")
	after, err := query.End(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("end %s:%d %s", after.File, after.Offset, after.GTID)
	if after.CompareFile(before) <= 0 {
		t.Errorf("end went from %v to %v", before, after)
	}
	if want := s.gtid || s.kind.IsMariaDB(); want != !after.GTID.IsZero() ||
		want && (!after.GTID.Contains(before.GTID) || before.GTID.Contains(after.GTID)) {
		t.Errorf("GTIDs went from %q to %q", before.GTID, after.GTID)
	}
}
