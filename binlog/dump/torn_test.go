package dump_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestTornTail ends a binlog file within a transaction, as a crash of the server's machine does.
// MySQL cuts the transaction off when it starts again, so it is never yielded. MariaDB leaves it
// there, and it must not be mistaken for a transaction.
func TestTornTail(t *testing.T) {
	for _, c := range []struct {
		setup
		inEvent bool
		want    string // in the error; "" if no error may occur
	}{
		{setup{"mysql", servers.MySQL, true, []string{"--performance-schema=OFF"}}, false, ""},
		{
			setup{"mariadb", servers.MariaDB, false, []string{"--binlog-format=ROW"}},
			false,
			"ends within a transaction",
		},
		{
			setup{"mariadb-event", servers.MariaDB, false, []string{"--binlog-format=ROW"}},
			true,
			"the server crashed while it wrote this",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := servertest.Database(t, c.kind,
				servers.DatabaseOptions{GTID: c.gtid, Args: c.args})
			f := newHarness(t, c.setup, db)
			f.exec("INSERT INTO shop.a VALUES (1, 2001, 'v', 'x')")
			from := f.end()
			f.exec("INSERT INTO shop.a VALUES (2, 2001, 'v', 'x')")
			f.crash(from.File, c.inEvent)
			f.exec("INSERT INTO shop.a VALUES (3, 2001, 'v', 'x')")
			s := f.open(from)
			if c.want == "" {
				// Did the engine store the GTID of the lost transaction before the crash? Then the
				// server has the transaction but not its events, and must not skip it.
				purged, err := f.conn.Query(t.Context(), "SELECT @@GLOBAL.gtid_purged")
				if err != nil {
					t.Fatal(err)
				}
				if len(purged.Rows[0][0]) > 0 {
					if err := firstError(t, s); !strings.Contains(err.Error(), "purged") {
						t.Errorf("error is %v", err)
					}
					return
				}
				check(t, take(t, s, 1), []string{"insert a 3 2001 v x|"})
				return
			}
			err := firstError(t, s)
			if err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "--from snapshot") {
				t.Errorf("error is %v", err)
			}
			if got := s.Position(); got.CompareFile(
				binlog.Position{File: from.File, Offset: from.Offset},
			) != 0 {
				t.Errorf("the position moved from %s to %s", from, got)
			}
		})
	}
}

// crash kills the server, cuts off the last event of a binlog file, or half of it, and starts the
// server again.
func (f *harness) crash(file string, inEvent bool) {
	f.t.Helper()
	list, err := f.conn.Query(f.t.Context(), "SHOW BINLOG EVENTS IN '"+file+"'")
	if err != nil {
		f.t.Fatal(err)
	}
	last := list.Rows[len(list.Rows)-1]
	cut, err := strconv.ParseInt(string(last[1]), 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	if inEvent {
		cut += 5
	}
	base, err := f.conn.Query(f.t.Context(), "SELECT @@log_bin_basename")
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.db.Kill(); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(filepath.Dir(string(base.Rows[0][0])), file),
		cut); err != nil {
		f.t.Fatal(err)
	}
	if err := f.db.Restart(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.conn = f.dial()
}
