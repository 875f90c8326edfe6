package dump_test

import (
	"fmt"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestOneServerID follows two MariaDBs of one history with one server id, as in a Galera cluster.
// They once counted as one server: a stream continued at the first server's file and offset on the
// second, whose binlog had other transactions there, and five were lost.
func TestOneServerID(t *testing.T) {
	su := setup{"mariadb", servers.MariaDB, false, []string{"--server-id=1"}}
	var harnesses []*harness
	var at binlog.Position
	for i := range 2 {
		f := newHarness(t, su,
			servertest.Database(t, su.kind, servers.DatabaseOptions{Args: su.args}))
		harnesses = append(harnesses, f)
		for id := 10; id < 35; id++ {
			// The second server began its second file five transactions later.
			if id == 10+5*i {
				f.exec("FLUSH BINARY LOGS")
			}
			f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", id))
			if i == 0 && id == 29 {
				at = f.end()
				at.GTID = f.gtids()
			}
		}
	}
	if a, b := harnesses[0].conn.Server().UUID, harnesses[1].conn.Server().UUID; a == b {
		t.Errorf("both servers are %s", a)
	}
	var want []string
	for id := 30; id < 35; id++ {
		want = append(want, fmt.Sprintf("insert a %d 2001 v x|", id))
	}
	for _, f := range harnesses {
		check(t, take(t, f.open(at), len(want)), want)
	}
}

// gtids returns the end of a MariaDB's binlog as a GTID set.
func (f *harness) gtids() binlog.GTIDSet {
	f.t.Helper()
	r, err := f.conn.Query(f.t.Context(), "SELECT @@gtid_binlog_pos")
	if err != nil {
		f.t.Fatal(err)
	}
	g, err := binlog.ParseGTIDSet(string(r.Rows[0][0]))
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}
