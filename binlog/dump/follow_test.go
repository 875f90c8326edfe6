package dump_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServers runs the tests against one server of each setup.
func TestServers(t *testing.T) {
	for _, su := range setups {
		t.Run(su.name, func(t *testing.T) {
			args := append([]string{"--max-allowed-packet=256M"}, su.args...)
			if su.kind == servers.MySQL {
				args = append(args, "--performance-schema=OFF")
			}
			db := servertest.Database(t, su.kind,
				servers.DatabaseOptions{GTID: su.gtid, Args: args})
			for _, test := range []struct {
				name string
				run  func(t *testing.T, f *harness)
				of   bool // this set-up
			}{
				{"follow", testFollowAndResume, true},
				{"proof", testProof, true},
				{"proof purged", testProofPurged, true},
				{"statements", testStatements, true},
				// One server of each kind is enough for large rows.
				{"large", testLargeRow, su.name == "mysql-gtid" || su.name == "mariadb"},
				{"refusals", testRefusals, true},
				{"killed", testKilled, true},
				{"wait", testWait, true},
				{"file", testFile, true},
				{"positions", testBadPositions, true},
				{"keys", testKeys, true},
				{"supplied", testSupplied, true},
				// These servers log the character sets.
				{"charsets", testCharsets, su.kind == servers.MySQL ||
					slices.Contains(su.args, "--binlog-row-metadata=FULL")},
				// The order comes last, because it adds GTID domains. The streams of other tests
				// begin at a file and offset, and MariaDB sends them no domains of older
				// transactions.
				{"order", testOrder, su.name == "mysql-gtid" || su.name == "mariadb"},
			} {
				if !test.of {
					continue
				}
				t.Run(test.name, func(t *testing.T) { test.run(t, newHarness(t, su, db)) })
			}
		})
	}
}

// Every transaction is yielded once and in order. From every position that the stream returned,
// exactly the remaining transactions follow.
func testFollowAndResume(t *testing.T, f *harness) {
	from := f.end()
	rnd := rand.New(rand.NewPCG(1, 2))
	want := f.write(rnd, 60, 1)
	got := take(t, f.open(from), len(want))
	check(t, got, want)
	end := f.end()
	last := got[len(got)-1].position
	if s := f.conn.Server(); s.Flavor == mysql.MySQL && s.GTIDMode && !last.GTID.Equal(end.GTID) {
		t.Errorf("GTID set is %s, the server's %s", last.GTID, end.GTID)
	}
	if f.setup.kind.IsMariaDB() && last.GTID.IsZero() {
		t.Error("no GTID was learnt")
	}
	for i := 0; i < len(got)-1; i++ {
		s := f.open(got[i].position)
		rest := take(t, s, len(want)-i-1)
		check(t, rest, want[i+1:])
		if p := rest[len(rest)-1].position; p.File != last.File || p.Offset != last.Offset ||
			!p.GTID.Equal(last.GTID) {
			t.Fatalf("resumed from %d we end at %v %s:%d instead of %v %s:%d", i, p, p.File,
				p.Offset, last, last.File, last.Offset)
		}
		_ = s.Close()
	}
	// By file and offset alone, and (MySQL) learning the GTID set.
	for i := 0; i < len(got)-1; i += 7 {
		s := f.open(binlog.Position{File: got[i].position.File, Offset: got[i].position.Offset})
		rest := take(t, s, len(want)-i-1)
		check(t, rest, want[i+1:])
		if p := rest[len(rest)-1].position; !p.GTID.Equal(last.GTID) {
			t.Fatalf("from a file and offset we end at %v instead of %v", p, last)
		}
		_ = s.Close()
	}
	f.reachesEnd(f.open(last), end)
	if !last.GTID.IsZero() {
		i := len(got) / 2
		check(t, take(t, f.open(binlog.Position{GTID: got[i].position.GTID}), len(want)-i-1),
			want[i+1:])
	}
}

// Statements, unusual transactions and large packets keep their places in the order.
func testStatements(t *testing.T, f *harness) {
	from := f.end()
	var want []string
	run := func(sql, rows string) {
		t.Helper()
		f.exec(sql)
		if rows != "" {
			want = append(want, rows)
		}
	}
	run("CREATE TABLE shop.m (id INT) ENGINE=MyISAM", "CREATE TABLE shop.m (id INT) ENGINE=MyISAM")
	run("INSERT INTO shop.m VALUES (1)", "\x00")
	run("BEGIN", "")
	run("INSERT INTO shop.a VALUES (1, 2001, 'v', 'x')", "")
	run("SAVEPOINT s", "")
	run("INSERT INTO shop.a VALUES (2, 2001, 'v', 'x')", "")
	run("ROLLBACK TO s", "")
	run("INSERT INTO shop.a VALUES (3, NULL, NULL, NULL)", "")
	run("COMMIT", "insert a 1 2001 v x|insert a 3   |")
	run("DELETE FROM shop.a", "delete a 1 2001 v x|delete a 3   |")
	run("TRUNCATE shop.a", "TRUNCATE shop.a")
	run("XA START 'one'", "")
	run("INSERT INTO shop.a VALUES (5, 2001, 'v', 'x')", "")
	run("XA END 'one'", "")
	run("XA COMMIT 'one' ONE PHASE", "insert a 5 2001 v x|")
	run("XA START 'two'", "")
	run("INSERT INTO shop.other VALUES (5, 'v')", "")
	run("XA END 'two'", "")
	run("XA PREPARE 'two'", "\x00")
	run("XA COMMIT 'two'", "\x00")
	run("CREATE TABLE shop.`mü` (id INT)", "CREATE TABLE shop.`mü` (id INT)")
	run("SET NAMES latin1", "")
	run("TRUNCATE shop.`m\xfc`", "TRUNCATE shop.`mü`")
	run("SET NAMES utf8mb4", "")
	if f.setup.kind.IsMariaDB() {
		run("SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE shop.`mü`", "TRUNCATE shop.`mü`")
	}
	run("GRANT SELECT ON shop.* TO root@'%'", "\x01")
	run("INSERT INTO shop.b SELECT 7, 2001, REPEAT('z', 200), 'y'",
		"insert b 7 2001 "+strings.Repeat("z", 200)+" y|")

	run("CREATE TABLE shop.c SELECT * FROM shop.b", "\x01") // the rows come after it
	want = append(want, "\x00")
	if f.setup.gtid {
		run("SET gtid_next = 'AUTOMATIC:blue'", "")
		run("INSERT INTO shop.a VALUES (8, 2001, 'v', 'x')", "insert a 8 2001 v x|")
		run("INSERT INTO shop.a VALUES (9, 2001, 'v', 'x')", "insert a 9 2001 v x|")
		run("SET gtid_next = 'AUTOMATIC'", "")
	}
	run("INSERT INTO shop.a VALUES (10, 2001, 'v', 'x')", "insert a 10 2001 v x|")

	got := take(t, f.open(from), len(want))
	for i, w := range want {
		g := got[i].rows
		if w == "\x00" {
			w = ""
		}
		if w == "\x01" {
			w = g
		}
		if g != w {
			t.Errorf("%d is %q, want %q", i, g, w)
		}
	}
	last := got[len(got)-1].position
	f.reachesEnd(f.open(last), f.end())
	if s := f.conn.Server(); s.Flavor == mysql.MySQL && s.GTIDMode &&
		!last.GTID.Equal(f.end().GTID) {
		t.Errorf("GTID set is %s, the server's %s", last.GTID, f.end().GTID)
	}
}

// A packet over 16 MiB comes in parts.
func testLargeRow(t *testing.T, f *harness) {
	f.exec("CREATE TABLE shop.big (id INT UNSIGNED NOT NULL PRIMARY KEY, v LONGBLOB)")
	f.tables["shop.big"] = &binlog.Table{
		Database: "shop",
		Name:     "big",
		Primary:  []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
			{
				Name: "v", SQLType: "longblob", Type: binlog.TypeBlob, Nullable: true,
				Charset: "binary",
			},
		},
	}
	from := f.end()
	sizes := []int{16<<20 - 100, 16 << 20, 40 << 20, 10, 3 << 20}
	for i, n := range sizes {
		f.exec(fmt.Sprintf("INSERT INTO shop.big VALUES (%d, REPEAT('%c', %d))", i, 'a'+i, n))
	}
	got := take(t, f.open(from), len(sizes))
	for i, n := range sizes {
		if w := fmt.Sprintf("insert big %d %s|", i,
			strings.Repeat(string(rune('a'+i)), n)); got[i].rows != w {
			t.Errorf("row of %d bytes differs: %d bytes came", n, len(got[i].rows))
		}
	}
}

// A killed connection is an error, and the next stream continues from the last position.
func testKilled(t *testing.T, f *harness) {
	hung := f.open(f.end())
	hung.SetSilence(time.Second)
	if err := f.db.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := firstError(t, hung)
	if e := f.db.Signal(syscall.SIGCONT); e != nil || !strings.Contains(err.Error(), "silent") {
		t.Fatal(err, e)
	}
	s := f.open(f.end())
	for i := range 5 {
		f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", i))
		check(t, take(t, s, 1), []string{fmt.Sprintf("insert a %d 2001 v x|", i)})
		r, err := f.conn.Query(t.Context(),
			"SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			// Those of streams closed before may be ending by themselves.
			const noThread = 1094
			if err := f.conn.Exec(t.Context(), "KILL "+string(row[0])); err != nil &&
				!mysql.IsCode(err, noThread) {
				t.Fatal(err)
			}
		}
		if err := firstError(t, s); err == nil {
			t.Fatal("a killed connection went on")
		}
		if _, err := s.Next(t.Context()); err == nil {
			t.Fatal("the error did not last")
		}
		_ = s.Close()
		s = f.open(*s.Position())
	}
}

// Contexts, Wake and heartbeats interrupt the wait and lose nothing.
func testWait(t *testing.T, f *harness) {
	s := f.open(f.end())
	ctx, cancel := context.WithCancel(t.Context())
	progress := 0
	for progress < 5 { // heartbeats
		ev, err := s.Next(ctx)
		if err != nil || ev.Kind != binlog.Progress {
			t.Fatal(ev, err)
		}
		progress++
	}
	done := make(chan error)
	go func() {
		for {
			if _, err := s.Next(ctx); err != nil {
				done <- err
				return
			}
		}
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.Wake()
			}
		}
	}()
	for i := range 50 {
		f.exec(fmt.Sprintf("INSERT INTO shop.a VALUES (%d, 2001, 'v', 'x')", i))
		check(t, take(t, s, 1), []string{fmt.Sprintf("insert a %d 2001 v x|", i)})
	}
	close(stop)
	<-done
	// Close ends a wait as well.
	failed := make(chan error)
	go func() {
		for {
			if _, err := s.Next(context.Background()); err != nil {
				failed <- err
				return
			}
		}
	}()
	_ = s.Close()
	if err := <-failed; err == nil {
		t.Fatal("Next outlived Close")
	}
}

// A file of the binlog parses to what the server streamed of it.
func testFile(t *testing.T, f *harness) {
	f.exec("FLUSH BINARY LOGS")
	from := f.end()
	want := f.write(rand.New(rand.NewPCG(3, 4)), 40, 1000)
	streamed := take(t, f.open(from), len(want))
	check(t, streamed, want)
	r, err := f.conn.Query(t.Context(), "SELECT @@log_bin_basename")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, s := range streamed {
		if i > 0 && s.position.File == streamed[i-1].position.File {
			continue
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(string(r.Rows[0][0])), s.position.File))
		if err != nil {
			t.Fatal(err)
		}
		var rows []byte
		if err := parseFile(b, f.setup.kind.IsMariaDB(), f.tables, func(ev *binlog.Event) {
			switch ev.Kind {
			case binlog.Changes:
				if rows, err = render(rows, &ev.Rows); err != nil {
					t.Fatal(err)
				}
			case binlog.Commit:
				got = append(got, string(rows))
				rows = rows[:0]
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the files hold %d transactions, not the %d written", len(got), len(want))
	}
}

// parseFile parses a whole binlog file, after its four magic bytes.
func parseFile(b []byte, maria bool, tables events.Tables, f func(*binlog.Event)) error {
	p := events.NewParser(events.Options{MariaDB: maria, GTIDs: true, Tables: tables})
	p.Start(binlog.Position{File: "file", Offset: 4})
	for b = b[4:]; len(b) >= events.HeaderSize; {
		n := int(binary.LittleEndian.Uint32(b[9:]))
		if n < events.HeaderSize || n > len(b) {
			return fmt.Errorf("the file's last %d bytes are no event", len(b))
		}
		for ev, err := p.Next(b[:n]); ; ev, err = p.Pending() {
			if err != nil {
				return err
			}
			if ev == nil {
				break
			}
			f(ev)
		}
		b = b[n:]
	}
	return nil
}
