package dump_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// openAfter opens a stream at a position whose last transaction is known.
func (f *harness) openAfter(last binlog.Evidence, from binlog.Position) (*dump.Stream, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	s, err := dump.Open(ctx, dump.Config{
		MySQL: f.config(), ServerID: 4711 + rand.Uint32N(1e6), Heartbeat: 100 * time.Millisecond,
		Tables: f.tables, Last: last,
	}, from)
	if err == nil {
		f.t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// mustProve opens a stream and requires that the history was proved.
func (f *harness) mustProve(last binlog.Evidence, from binlog.Position) *dump.Stream {
	f.t.Helper()
	s, err := f.openAfter(last, from)
	if err != nil {
		f.t.Fatalf("after %s: %v", last, err)
	}
	if s.Unproved() != "" {
		f.t.Fatalf("after %s: not proved: %s", last, s.Unproved())
	}
	return s
}

// mustDiffer opens a stream and requires an error that names both sides.
func (f *harness) mustDiffer(last binlog.Evidence, from binlog.Position, want ...string) {
	f.t.Helper()
	_, err := f.openAfter(last, from)
	var different *binlog.HistoryError
	if !errors.As(err, &different) {
		f.t.Fatalf("after %s: %v, want a HistoryError with %q", last, err, want)
	}
	for _, w := range append(want, "--from snapshot", last.String()) {
		if !strings.Contains(err.Error(), w) {
			f.t.Errorf("%q lacks %q", err, w)
		}
	}
}

// proofWritten writes n transactions and returns what a stream yields, with the evidence of each.
func (f *harness) proofWritten(
	n int,
) (from binlog.Position, want []string, got []seen, evidence []binlog.Evidence) {
	f.t.Helper()
	from = f.end()
	if f.setup.kind.IsMariaDB() {
		from.GTID = f.gtids()
	}
	want = f.write(rand.New(rand.NewPCG(3, 4)), n, 1000)
	s := f.open(from)
	for range want {
		got = append(got, take(f.t, s, 1)...)
		evidence = append(evidence, s.Last())
	}
	return from, want, got, evidence
}

// Each connection reads the last transaction again and yields nothing of it. The evidence of every
// transaction holds all that the server sends.
func testProof(t *testing.T, f *harness) {
	_, want, got, evidence := f.proofWritten(40)
	server := f.conn.Server()
	for i, e := range evidence {
		if e.Time == 0 || e.FileTime == 0 || e.Start == 0 || e.End != got[i].position.Offset ||
			e.File != got[i].position.File || e.Server != server.UUID {
			t.Fatalf("the evidence of transaction %d is %+v", i, e)
		}
		if withGTID := server.GTIDMode; e.GTID.IsZero() == withGTID {
			t.Fatalf("the evidence of transaction %d is %+v", i, e)
		}
		if mysql := server.Flavor == mysql.MySQL; mysql && e.Length != e.End-e.Start ||
			!mysql && e.Length != 0 {
			t.Fatalf("the evidence of transaction %d is %+v: its length is not %d", i, e,
				e.End-e.Start)
		}
		if i > 0 && server.Flavor == mysql.MariaDB && e.Previous != evidence[i-1].GTID {
			t.Fatalf("before %s came %s, not %s", e.GTID, evidence[i-1].GTID, e.Previous)
		}
	}
	for i := 0; i < len(want)-1; i += 3 {
		s := f.mustProve(evidence[i], got[i].position)
		if last := s.Last(); last != evidence[i] {
			t.Fatalf("the transaction that was read again is %+v, not %+v", last, evidence[i])
		}
		rest := take(t, s, len(want)-i-1)
		check(t, rest, want[i+1:])
		if a, b := rest[len(rest)-1].position, got[len(got)-1].position; !a.GTID.Equal(b.GTID) ||
			a.CompareFile(b) != 0 {
			t.Fatalf("resumed from %d we end at %s %s:%d, not at %s %s:%d", i, a, a.File, a.Offset,
				b, b.File, b.Offset)
		}
		_ = s.Close()
	}
	// At the end of the binlog nothing follows; the stream reports its place at once.
	last := len(want) - 1
	s := f.mustProve(evidence[last], got[last].position)
	if ev, err := s.Next(t.Context()); err != nil || ev.Kind != binlog.Progress {
		t.Errorf("first comes %v, %v", ev, err)
	}
	testDifferences(t, f, evidence[last], got[last].position)
	if server.GTIDMode {
		return
	}
	// An older version, which keeps no evidence, has moved the position on meanwhile.
	s = f.mustProve(evidence[2], got[10].position)
	check(t, take(t, s, len(want)-11), want[11:])
}

// testDifferences changes the fields of the evidence, one at a time.
func testDifferences(t *testing.T, f *harness, e binlog.Evidence, at binlog.Position) {
	server := f.conn.Server()
	for _, c := range []struct {
		want   string
		change func(e *binlog.Evidence)
	}{
		{"the commit time differs", func(e *binlog.Evidence) { e.Time++ }},
		{"the length differs", func(e *binlog.Evidence) { e.Length++ }},
		{"the end offset differs", func(e *binlog.Evidence) { e.End-- }},
		{"the time at which the file was begun differs", func(e *binlog.Evidence) { e.FileTime++ }},
	} {
		changed := e
		c.change(&changed)
		if changed.Length == 1 {
			continue // MariaDB does not send it
		}
		f.mustDiffer(changed, at, c.want, e.String())
	}
	changed := e
	changed.Time, changed.FileTime = 0, 0
	if s, err := f.openAfter(changed, at); err != nil || s.Unproved() == "" {
		t.Errorf("without any time: %v", err)
	}
	changed = e
	changed.Server, changed.File, changed.Start, changed.FileTime = "another", "other.000009", 4, 1
	s, err := f.openAfter(changed, at)
	if err != nil || (s.Unproved() == "") != server.GTIDMode {
		t.Errorf("read from another server: %v", err)
	}
	if !server.GTIDMode {
		changed = e
		changed.Start++
		f.mustDiffer(changed, at, "no transaction begins at")
		changed = e
		changed.End += 1 << 20
		f.mustDiffer(changed, at, "ends at")
		changed = e
		changed.File = "binlog.999999"
		f.mustDiffer(changed, at, "the server's binlog ends at")
	}
	if s, err := f.openAfter(binlog.Evidence{}, at); err != nil || s.Unproved() == "" {
		t.Errorf("without evidence: %v", err)
	}
}

// A transaction that was purged proves nothing, and the stream continues from the position.
func testProofPurged(t *testing.T, f *harness) {
	_, _, got, evidence := f.proofWritten(3)
	f.exec("FLUSH BINARY LOGS")
	next := got[len(got)-1].position
	if !f.conn.Server().GTIDMode {
		next = f.end()
	}
	f.purge()
	f.exec("INSERT INTO shop.a VALUES (77, 2001, 'v', 'x')")
	s, err := f.openAfter(evidence[len(evidence)-1], next)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.Unproved(), "purged") {
		t.Errorf("not proved because %q", s.Unproved())
	}
	check(t, take(t, s, 1), []string{"insert a 77 2001 v x|"})
}

// TestReset resets a server's history. Reused numbers are told from the old ones before, at and
// beyond the last transaction.
func TestReset(t *testing.T) {
	for _, su := range []setup{setups[0], setups[1], setups[4]} {
		t.Run(su.name, func(t *testing.T) {
			db := servertest.Database(t, su.kind,
				servers.DatabaseOptions{GTID: su.gtid, Args: su.args})
			f := newHarness(t, su, db)
			reset := "RESET BINARY LOGS AND GTIDS"
			if su.kind.IsMariaDB() {
				reset = "RESET MASTER"
			}
			f.exec(reset)
			f.exec("TRUNCATE shop.a")
			for id := range 10 {
				f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", id))
			}
			s := f.open(binlog.Position{File: "binlog.000001", Offset: 4})
			first := take(t, s, 1)[0].position
			_ = f.mustProve(s.Last(), first).Close() // nothing is before it
			got := take(t, s, 10)
			last, at := s.Last(), got[9].position
			for {
				ev, err := s.Present(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if ev == nil {
					break
				}
			}
			f.waitSecond(last) // MariaDB's times are whole seconds
			f.exec(reset)
			for n := range 25 {
				switch n {
				case 12, 24: // as many as before, and more
					f.mustDiffer(last, at)
				case 0, 5:
					if _, err := f.openAfter(last, at); err == nil {
						t.Errorf("after %d new transactions: no error", n)
					}
				}
				f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", 100+n))
			}
			err := firstError(t, s)
			if err == nil {
				t.Error("the old stream goes on")
			}
		})
	}
}

// waitSecond waits until the server's clock shows a later second than a transaction's.
func (f *harness) waitSecond(e binlog.Evidence) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		r, err := f.conn.Query(f.t.Context(), "SELECT UNIX_TIMESTAMP() > "+fmt.Sprint(e.Time/1e6))
		if err != nil {
			f.t.Fatal(err)
		}
		if string(r.Rows[0][0]) == "1" {
			return
		}
	}
	f.t.Fatal("the server's clock stands still")
}
