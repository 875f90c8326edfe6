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
	"rowfall/binlog/dump"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup is one kind of server, set up in one way.
type setup struct {
	name string
	kind servers.Kind
	gtid bool
	args []string
}

var setups = []setup{
	{"mysql-gtid", servers.MySQL, true, nil},
	{"mysql-plain", servers.MySQL, false, nil},
	{"mysql-full-compressed", servers.MySQL, true, []string{"--binlog-row-metadata=FULL", "--binlog-transaction-compression=ON"}},
	{"mysql-no-checksum", servers.MySQL, false, []string{"--binlog-checksum=NONE", "--binlog-row-metadata=FULL"}},
	{"mariadb", servers.MariaDB, false, []string{"--binlog-format=ROW"}},
	{"mariadb-full-compressed", servers.MariaDB, false, []string{
		"--binlog-format=ROW", "--binlog-row-metadata=FULL", "--log-bin-compress=ON",
		"--log-bin-compress-min-len=10", "--binlog-checksum=CRC32",
	}},
}

// fixture is a server with a schema and a connection to it.
type fixture struct {
	t      *testing.T
	setup  setup
	db     *servers.Database
	conn   *mysql.Conn
	tables tables
}

// tables are the mapped tables by full name.
type tables map[string]*binlog.Table

func (ts tables) Table(database, name string) (*binlog.Table, error) {
	return ts[database+"."+name], nil
}

// TestServers runs every test against one server of each set-up.
func TestServers(t *testing.T) {
	for _, su := range setups {
		t.Run(su.name, func(t *testing.T) {
			args := append([]string{"--max-allowed-packet=256M"}, su.args...)
			if su.kind == servers.MySQL {
				args = append(args, "--performance-schema=OFF")
			}
			db := servertest.Database(t, su.kind, servers.DatabaseOptions{GTID: su.gtid, Args: args})
			for _, test := range []struct {
				name string
				run  func(t *testing.T, f *fixture)
			}{
				{"follow", testFollowAndResume},
				{"statements", testStatements},
				{"large", testLargeRow},
				{"refusals", testRefusals},
				{"killed", testKilled},
				{"wait", testWait},
				{"file", testFile},
				{"positions", testBadPositions},
				{"keys", testKeys},
				{"charsets", testCharsets},
			} {
				t.Run(test.name, func(t *testing.T) { test.run(t, newFixture(t, su, db)) })
			}
		})
	}
}

func newFixture(t *testing.T, su setup, db *servers.Database) *fixture {
	t.Helper()
	f := &fixture{t: t, setup: su, db: db, tables: tables{}}
	f.conn = f.dial()
	f.exec("DROP DATABASE IF EXISTS shop")
	f.exec("CREATE DATABASE shop CHARACTER SET utf8mb4")
	f.exec("CREATE TABLE shop.a (id INT UNSIGNED NOT NULL PRIMARY KEY, y YEAR, v VARCHAR(200), kind ENUM('x','y'))")
	f.exec("CREATE TABLE shop.b (id INT UNSIGNED NOT NULL PRIMARY KEY, y YEAR, v VARCHAR(200), kind ENUM('x','y'))")
	f.exec("CREATE TABLE shop.other (id INT UNSIGNED NOT NULL PRIMARY KEY, v VARCHAR(200))")
	for _, name := range []string{"a", "b"} {
		f.tables["shop."+name] = tableOf(name)
	}
	return f
}

func tableOf(name string) *binlog.Table {
	return &binlog.Table{
		Database: "shop", Name: name, Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
			{Name: "y", SQLType: "year", Type: binlog.TypeYear, Unsigned: true, Nullable: true},
			{Name: "v", SQLType: "varchar(200)", Type: binlog.TypeVarchar, Length: 200, Charset: "utf8mb4", Nullable: true},
			{Name: "kind", SQLType: "enum('x','y')", Type: binlog.TypeEnum, Values: []string{"x", "y"}, Charset: "utf8mb4", Nullable: true},
		},
	}
}

func (f *fixture) config() mysql.Config {
	return mysql.Config{Addresses: []string{f.db.Addr()}, User: "root"}
}

func (f *fixture) dial() *mysql.Conn {
	f.t.Helper()
	c, err := mysql.Dial(f.t.Context(), f.config())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *fixture) exec(sql string) {
	f.t.Helper()
	if err := f.conn.Exec(f.t.Context(), sql); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
}

// end returns the end of the binlog.
func (f *fixture) end() binlog.Position {
	f.t.Helper()
	sql := "SHOW BINARY LOG STATUS"
	if s := f.conn.Server(); s.Flavor == mysql.MariaDB || !s.AtLeast(8, 2, 0) {
		sql = "SHOW MASTER STATUS"
	}
	r, err := f.conn.Query(f.t.Context(), sql)
	if err != nil || len(r.Rows) != 1 {
		f.t.Fatalf("%s: %v", sql, err)
	}
	p := binlog.Position{File: string(r.Rows[0][0])}
	_, _ = fmt.Sscan(string(r.Rows[0][1]), &p.Offset)
	if i := slices.Index(r.Columns, "Executed_Gtid_Set"); i >= 0 {
		if p.GTID, err = binlog.ParseGTIDSet(string(r.Rows[0][i])); err != nil {
			f.t.Fatal(err)
		}
	}
	return p
}

func (f *fixture) open(from binlog.Position) *dump.Stream {
	f.t.Helper()
	s, err := dump.Open(f.t.Context(), dump.Config{MySQL: f.config(), ServerID: 4711 + rand.Uint32N(1e6), Heartbeat: 100 * time.Millisecond, Tables: f.tables}, from)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = s.Close() })
	return s
}

// seen is what a stream yielded up to a Commit or Statement.
type seen struct {
	rows     string
	position binlog.Position
}

// render writes rows as "I a 1 v|..." in order.
func render(dst []byte, rows *binlog.Rows) ([]byte, error) {
	for rows.Next() {
		c := rows.Change()
		row := c.After
		if row == nil {
			row = c.Before
		}
		dst = fmt.Appendf(dst, "%s %s", c.Op, c.Table.Name)
		for i := range c.Table.Columns {
			dst = append(dst, ' ')
			var err error
			if dst, err = row.AppendText(dst, i); err != nil {
				return nil, err
			}
		}
		dst = append(dst, '|')
	}
	return dst, rows.Err()
}

// take reads until n transactions or statements were seen.
func take(t *testing.T, s *dump.Stream, n int) []seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out []seen
	var rows []byte
	var before binlog.Position // where the transaction's first rows stood
	for len(out) < n {
		ev, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(out), n, err)
		}
		switch ev.Kind {
		case binlog.Changes:
			if ev.Time == 0 {
				t.Fatal("changes without a time")
			}
			p := s.Position()
			if len(rows) == 0 {
				before = p.Clone()
			}
			if rows, err = render(rows, &ev.Rows); err != nil {
				t.Fatal(err)
			}
			if p.File != before.File || p.Offset != before.Offset || !p.GTID.Equal(before.GTID) {
				t.Fatalf("the position moved within a transaction: %v %s:%d", p, p.File, p.Offset)
			}
			continue
		case binlog.Statement:
			rows = append(rows, ev.SQL...)
			fallthrough
		case binlog.Commit:
			if d := time.Since(time.UnixMicro(ev.Time)); d < -2*time.Second || d > 10*time.Minute {
				t.Fatalf("time is %v", time.UnixMicro(ev.Time))
			}
			out = append(out, seen{string(rows), s.Position().Clone()})
			rows = rows[:0]
		}
	}
	return out
}

// write runs n random transactions and returns what a stream should see.
func (f *fixture) write(rnd *rand.Rand, n, firstID int) []string {
	var want []string
	id := firstID
	live := map[string][]int{}
	for range n {
		var rows strings.Builder
		f.exec("BEGIN")
		for range 1 + rnd.IntN(4) {
			table := []string{"a", "b"}[rnd.IntN(2)]
			v := strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(150))
			ids := live[table]
			switch {
			case len(ids) > 3 && rnd.IntN(3) == 0:
				i := ids[rnd.IntN(len(ids))]
				f.exec(fmt.Sprintf("UPDATE shop.%s SET v = '%s', kind = 'y', y = 1999 WHERE id = %d", table, v+"~", i))
				live[table] = slices.DeleteFunc(ids, func(o int) bool { return o == i })
				fmt.Fprintf(&rows, "update %s %d 1999 %s y|", table, i, v+"~")
			case len(ids) > 3 && rnd.IntN(3) == 0:
				f.exec(fmt.Sprintf("INSERT INTO shop.other VALUES (%d, '%s')", id, v))
				id++
			default:
				f.exec(fmt.Sprintf("INSERT INTO shop.%s VALUES (%d, 2024, '%s', 'x')", table, id, v))
				live[table] = append(ids, id)
				fmt.Fprintf(&rows, "insert %s %d 2024 %s x|", table, id, v)
				id++
			}
		}
		if rnd.IntN(5) == 0 {
			f.exec("ROLLBACK")
			live = map[string][]int{}
			continue
		}
		f.exec("COMMIT")
		want = append(want, rows.String())
		if rnd.IntN(15) == 0 {
			f.exec("FLUSH BINARY LOGS")
			// It is itself logged as a statement nowhere, but starts a file.
		}
	}
	return want
}

func check(t *testing.T, got []seen, want []string) {
	t.Helper()
	for i, w := range want {
		if got[i].rows != w {
			t.Fatalf("transaction %d is\n%q, want\n%q", i, got[i].rows, w)
		}
	}
}

// Everything is seen once and in order, and from every position that was shown
// the rest follows, neither more nor less.
func testFollowAndResume(t *testing.T, f *fixture) {
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
	if f.setup.kind == servers.MariaDB && last.GTID.IsZero() {
		t.Error("no GTID was learnt")
	}
	for i := 0; i < len(got)-1; i++ {
		s := f.open(got[i].position)
		rest := take(t, s, len(want)-i-1)
		check(t, rest, want[i+1:])
		if p := rest[len(rest)-1].position; p.File != last.File || p.Offset != last.Offset || !p.GTID.Equal(last.GTID) {
			t.Fatalf("resumed from %d we end at %v %s:%d instead of %v %s:%d", i, p, p.File, p.Offset, last, last.File, last.Offset)
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
		check(t, take(t, f.open(binlog.Position{GTID: got[i].position.GTID}), len(want)-i-1), want[i+1:])
	}
}

// reachesEnd waits until the stream's file and offset are those of the server.
func (f *fixture) reachesEnd(s *dump.Stream, end binlog.Position) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	for s.Position().CompareFile(end) < 0 {
		ev, err := s.Next(ctx)
		if err != nil {
			f.t.Fatalf("at %s:%d, on the way to %s:%d: %v", s.Position().File, s.Position().Offset, end.File, end.Offset, err)
		}
		if ev.Kind != binlog.Progress {
			f.t.Fatalf("there was another event: %v", ev)
		}
	}
}

// Statements, odd transactions and large packets keep their place in the order.
func testStatements(t *testing.T, f *fixture) {
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
	if f.setup.kind == servers.MariaDB {
		run("SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE shop.`mü`", "TRUNCATE shop.`mü`")
	}
	run("GRANT SELECT ON shop.* TO root@'%'", "\x01")
	run("INSERT INTO shop.b SELECT 7, 2001, REPEAT('z', 200), 'y'", "insert b 7 2001 "+strings.Repeat("z", 200)+" y|")

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
	if s := f.conn.Server(); s.Flavor == mysql.MySQL && s.GTIDMode && !last.GTID.Equal(f.end().GTID) {
		t.Errorf("GTID set is %s, the server's %s", last.GTID, f.end().GTID)
	}
}

// A packet over 16 MiB comes in parts.
func testLargeRow(t *testing.T, f *fixture) {
	if name := f.setup.name; name != "mysql-gtid" && name != "mariadb" {
		t.Skip("one set-up of each server is enough")
	}
	f.exec("CREATE TABLE shop.big (id INT UNSIGNED NOT NULL PRIMARY KEY, v LONGBLOB)")
	f.tables["shop.big"] = &binlog.Table{Database: "shop", Name: "big", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
		{Name: "v", SQLType: "longblob", Type: binlog.TypeBlob, Nullable: true, Charset: "binary"},
	}}
	from := f.end()
	sizes := []int{16<<20 - 100, 16 << 20, 40 << 20, 10, 3 << 20}
	for i, n := range sizes {
		f.exec(fmt.Sprintf("INSERT INTO shop.big VALUES (%d, REPEAT('%c', %d))", i, 'a'+i, n))
	}
	got := take(t, f.open(from), len(sizes))
	for i, n := range sizes {
		if w := fmt.Sprintf("insert big %d %s|", i, strings.Repeat(string(rune('a'+i)), n)); got[i].rows != w {
			t.Errorf("row of %d bytes differs: %d bytes came", n, len(got[i].rows))
		}
	}
}

// What cannot be followed ends the stream and says what to do.
func testRefusals(t *testing.T, f *fixture) {
	f.exec("CREATE TABLE shop.docs (id INT UNSIGNED NOT NULL PRIMARY KEY, v JSON)")
	f.tables["shop.docs"] = &binlog.Table{Database: "shop", Name: "docs", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
		{Name: "v", SQLType: "json", Type: binlog.TypeJSON, Nullable: true},
	}}
	f.exec(`INSERT INTO shop.docs VALUES (1, '{"a": "a long enough value", "b": "another one that is not touched at all"}')`)
	cases := []struct {
		name string
		sql  []string
		want []string
		only mysql.Flavor
	}{
		{
			"statement",
			[]string{"SET SESSION binlog_format='STATEMENT'", "INSERT INTO shop.a VALUES (100, 2001, 'v', 'x')", "SET SESSION binlog_format='ROW'"},
			[]string{"binlog_format=ROW", "INSERT INTO shop.a"},
			0,
		},
		{
			"set statement",
			[]string{
				"SET SESSION binlog_format='STATEMENT'", "SET STATEMENT max_statement_time=10 FOR INSERT INTO shop.a VALUES (110, 2001, 'v', 'x')",
				"SET SESSION binlog_format='ROW'",
			},
			[]string{"binlog_format=ROW", "INSERT INTO shop.a"},
			mysql.MariaDB,
		},
		{
			"analyze",
			[]string{"SET SESSION binlog_format='STATEMENT'", "ANALYZE UPDATE shop.a SET v = 'w' WHERE id = 110", "SET SESSION binlog_format='ROW'"},
			[]string{"binlog_format=ROW", "ANALYZE UPDATE shop.a"},
			mysql.MariaDB,
		},
		{
			"charset",
			[]string{"CREATE TABLE shop.`я` (id INT)", "SET NAMES cp1251", "TRUNCATE shop.`\xff`", "SET NAMES utf8mb4"},
			[]string{"cp1251", "utf8mb4"},
			0,
		},
		{
			"json",
			[]string{"SET SESSION binlog_row_value_options='PARTIAL_JSON'", `UPDATE shop.docs SET v = JSON_SET(v, '$.a', 'short')`},
			[]string{"binlog_row_value_options=''", "shop.docs"},
			mysql.MySQL,
		},
		{
			"xa",
			[]string{"XA START 'x'", "INSERT INTO shop.a VALUES (101, 2001, 'v', 'x')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"},
			[]string{"XA", "one phase"},
			0,
		},
		{
			"columns",
			[]string{"ALTER TABLE shop.b ADD COLUMN extra INT", "INSERT INTO shop.b VALUES (102, 2001, 'v', 'x', 1)"},
			[]string{"shop.b"},
			0,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.only != 0 && c.only != f.conn.Server().Flavor {
				t.Skip("not on this server")
			}
			from := f.end()
			for _, sql := range c.sql {
				f.exec(sql)
			}
			err := firstError(t, f.open(from))
			var refused *binlog.RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("%v may be tried again", err)
			}
			for _, w := range append(c.want, from.File+":") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

func firstError(t *testing.T, s *dump.Stream) error {
	t.Helper()
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		ev, err := s.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("no error came, but %v at %s:%d", err, s.Position().File, s.Position().Offset)
			}
			return err
		}
		if ev.Kind == binlog.Changes {
			for ev.Rows.Next() {
			}
			if err := ev.Rows.Err(); err != nil {
				return err
			}
		}
	}
}

// A position that the server has not got, or that is none, is an error.
func testBadPositions(t *testing.T, f *fixture) {
	from := f.end()
	f.exec("BEGIN")
	f.exec("INSERT INTO shop.a VALUES (1, 2001, 'v', 'x'), (2, 2002, 'v', 'x')")
	f.exec("INSERT INTO shop.b VALUES (1, 2001, 'v', 'x')")
	f.exec("COMMIT")
	s := f.open(from)
	got := take(t, s, 1)
	_ = s.Close()
	// Offsets within the transaction are refused, but for its BEGIN where
	// there are no GTIDs: nothing is lost by that.
	const anonymous = 79
	for o := from.Offset + 1; o < got[0].position.Offset; o += 13 {
		if o == from.Offset+anonymous && f.setup.kind == servers.MySQL && !f.setup.gtid {
			continue
		}
		err := f.openError(binlog.Position{File: from.File, Offset: o})
		if !strings.Contains(err.Error(), from.File) {
			t.Errorf("offset %d: %v", o, err)
		}
	}
	beyond := f.end()
	beyond.Offset += 10_000
	beyond.GTID = binlog.GTIDSet{}
	var refused *binlog.RefusedError
	// Where nothing is skipped the server says so itself.
	if err := f.openError(beyond); !errors.As(err, &refused) && !mysql.IsCode(err, mysql.CodeBinlogMissing) {
		t.Errorf("beyond the file's end: %v", err)
	}
	f.exec("FLUSH BINARY LOGS")
	purge := f.end()
	f.exec("INSERT INTO shop.a VALUES (3, 2001, 'v', 'x')")
	f.exec("FLUSH BINARY LOGS")
	f.purge()
	for _, p := range []binlog.Position{from, purge} {
		err := f.openError(p)
		var se *mysql.ServerError
		if !errors.As(err, &se) || se.Code != 1236 || !strings.Contains(err.Error(), "--from snapshot") {
			t.Errorf("purged: %v", err)
		}
	}
}

// openError returns the error that a position ends in.
func (f *fixture) openError(p binlog.Position) error {
	s, err := dump.Open(f.t.Context(), dump.Config{MySQL: f.config(), ServerID: 4711, Heartbeat: 100 * time.Millisecond, Tables: f.tables}, p)
	if err != nil {
		return err
	}
	return firstError(f.t, s)
}

// purge leaves only the last binlog file. A server skips files that it believes
// are being read.
func (f *fixture) purge() {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		f.exec(fmt.Sprintf("PURGE BINARY LOGS TO '%s'", f.end().File))
		r, err := f.conn.Query(f.t.Context(), "SHOW BINARY LOGS")
		if err != nil {
			f.t.Fatal(err)
		}
		if len(r.Rows) == 1 {
			return
		}
	}
	f.t.Fatal("the server keeps its binlog files")
}

// A killed connection is an error, and another goes on from where it stood.
func testKilled(t *testing.T, f *fixture) {
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
		r, err := f.conn.Query(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			// Those of streams closed before may be ending by themselves.
			const noThread = 1094
			if err := f.conn.Exec(t.Context(), "KILL "+string(row[0])); err != nil && !mysql.IsCode(err, noThread) {
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
		s = f.open(s.Position().Clone())
	}
}

// Contexts, Wake and heartbeats interrupt the wait and lose nothing.
func testWait(t *testing.T, f *fixture) {
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
func testFile(t *testing.T, f *fixture) {
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
		if err := parseFile(b, f.setup.kind == servers.MariaDB, f.tables, func(ev *binlog.Event) {
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

// parseFile parses a whole binlog file, behind its magic.
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
