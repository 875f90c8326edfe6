package dump_test

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
)

// orderStatements returns a statement for each transaction that gives the transaction a GTID. The
// GTIDs are in no order: those of a multi-threaded replica without replica_preserve_commit_order,
// with tags, and those of a MariaDB with several domains and gtid_strict_mode=OFF.
func (f *harness) orderStatements() []string {
	var all []string
	if f.setup.kind == servers.MariaDB {
		for _, gtid := range strings.Fields("5-900-1 0-900-70 7-901-1 5-900-15 5-901-7 5-900-16 " +
			"0-901-71 5-900-17 7-901-3 0-900-71 5-901-8") {
			g := strings.Split(gtid, "-")
			all = append(all, fmt.Sprintf("SET SESSION gtid_domain_id = %s, "+
				"SESSION server_id = %s, SESSION gtid_seq_no = %s", g[0], g[1], g[2]))
		}
		return all
	}
	const uuid = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	for _, next := range []string{
		uuid + ":1", uuid + ":3", uuid + ":4", uuid + ":2", "AUTOMATIC", uuid + ":7",
		"AUTOMATIC:blue", uuid + ":red:2", uuid + ":6", uuid + ":red:1", "AUTOMATIC:blue",
		uuid + ":5", uuid + ":red:9", "AUTOMATIC", uuid + ":red:3",
	} {
		all = append(all, "SET gtid_next = '"+next+"'")
	}
	return all
}

// Each transaction is yielded once, whatever the order of their GTIDs. From every position that the
// stream returned, exactly the remaining transactions follow, after a comparison of the history.
func testOrder(t *testing.T, f *harness) {
	from, err := query.End(t.Context(), f.conn)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, sql := range f.orderStatements() {
		f.exec(sql)
		f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", i))
		want = append(want, fmt.Sprintf("insert a %d 2001 v x|", i))
		if i == 4 || i == 9 {
			if f.setup.kind == servers.MySQL {
				f.exec("SET gtid_next = 'AUTOMATIC'")
			}
			f.exec("FLUSH BINARY LOGS")
		}
	}
	f.conn = f.dial()
	stream := f.open(from)
	var got []seen
	var last []binlog.Evidence
	for range want {
		got = append(got, take(t, stream, 1)...)
		last = append(last, stream.Last())
	}
	check(t, got, want)
	_ = stream.Close()
	for i := range got[:len(got)-1] {
		at := got[i].position
		if missing, err := query.MissingGTIDs(t.Context(), f.conn, &at.GTID); err != nil ||
			!missing.IsZero() {
			t.Errorf("after %d: the server lacks %s of %s (%v)", i, missing, at, err)
		}
		byFile := binlog.Position{File: at.File, Offset: at.Offset}
		for _, from := range []binlog.Position{{GTID: at.GTID}, at, byFile} {
			c := dump.Config{MySQL: f.config(), ServerID: 4711, Tables: f.tables}
			if !from.GTID.IsZero() {
				c.Last = last[i]
			}
			s, err := dump.Open(t.Context(), c, from)
			if err != nil {
				t.Fatalf("after %d, from %+v: %v", i, from, err)
			}
			rest := take(t, s, len(want)-i-1)
			check(t, rest, want[i+1:])
			if end := &rest[len(rest)-1].position; f.conn.Server().Flavor == mysql.MySQL &&
				!end.GTID.Equal(got[len(got)-1].position.GTID) {
				t.Errorf("after %d, from %+v we end at %s", i, from, end)
			}
			if why := s.Unproved(); why != "" && !from.GTID.IsZero() {
				t.Errorf("after %d: not proved: %s", i, why)
			}
			_ = s.Close()
		}
	}
}
