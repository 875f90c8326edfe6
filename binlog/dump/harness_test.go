package dump_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
)

// setup is a kind of server with its settings.
type setup struct {
	name string
	kind servers.Kind
	gtid bool
	args []string
}

var setups = []setup{
	{"mysql-gtid", servers.MySQL, true, nil},
	{"mysql-plain", servers.MySQL, false, nil},
	{
		"mysql-full-compressed", servers.MySQL, true,
		[]string{"--binlog-row-metadata=FULL", "--binlog-transaction-compression=ON"},
	},
	{
		"mysql-no-checksum", servers.MySQL, false,
		[]string{"--binlog-checksum=NONE", "--binlog-row-metadata=FULL"},
	},
	{"mariadb", servers.MariaDB, false, []string{"--binlog-format=ROW"}},
	{"mariadb-full-compressed", servers.MariaDB, false, []string{
		"--binlog-format=ROW", "--binlog-row-metadata=FULL", "--log-bin-compress=ON",
		"--log-bin-compress-min-len=10", "--binlog-checksum=CRC32",
	}},
}

// harness is a server with a schema and a connection to it.
type harness struct {
	t      *testing.T
	setup  setup
	db     *servers.Database
	conn   *mysql.Conn
	tables tables
}

func newHarness(t *testing.T, su setup, db *servers.Database) *harness {
	t.Helper()
	f := &harness{t: t, setup: su, db: db, tables: tables{}}
	f.conn = f.dial()
	f.exec("DROP DATABASE IF EXISTS shop")
	f.exec("CREATE DATABASE shop CHARACTER SET utf8mb4")
	f.exec("CREATE TABLE shop.a (id INT UNSIGNED NOT NULL PRIMARY KEY, y YEAR, v VARCHAR(200), " +
		"kind ENUM('x','y'))")
	f.exec("CREATE TABLE shop.b (id INT UNSIGNED NOT NULL PRIMARY KEY, y YEAR, v VARCHAR(200), " +
		"kind ENUM('x','y'))")
	f.exec("CREATE TABLE shop.other (id INT UNSIGNED NOT NULL PRIMARY KEY, v VARCHAR(200))")
	for _, name := range []string{"a", "b"} {
		f.tables["shop."+name] = tableOf(name)
	}
	return f
}

// tables are the mapped tables by full name.
type tables map[string]*binlog.Table

// Mismatch ends the parsing.
func (ts tables) Mismatch(_ *binlog.Table, reason error) error { return reason }

func (tables) RowsSkipped(string, string, binlog.Op, bool) {}

func (ts tables) Table(database, name string) (*binlog.Table, error) {
	return ts[database+"."+name], nil
}

func tableOf(name string) *binlog.Table {
	return &binlog.Table{
		Database: "shop", Name: name, Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
			{Name: "y", SQLType: "year", Type: binlog.TypeYear, Unsigned: true, Nullable: true},
			{
				Name: "v", SQLType: "varchar(200)", Type: binlog.TypeVarchar, Length: 200,
				Charset: "utf8mb4", Nullable: true,
			},
			{
				Name: "kind", SQLType: "enum('x','y')", Type: binlog.TypeEnum,
				Values: []string{"x", "y"}, Charset: "utf8mb4", Nullable: true,
			},
		},
	}
}

func (f *harness) config() mysql.Config {
	return mysql.Config{Addresses: []string{f.db.Addr()}, User: "root"}
}

func (f *harness) dial() *mysql.Conn {
	f.t.Helper()
	c, err := mysql.Dial(f.t.Context(), f.config())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *harness) exec(sql string) {
	f.t.Helper()
	if err := f.conn.Exec(f.t.Context(), sql); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
}

// end returns the end of the binlog.
func (f *harness) end() binlog.Position {
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

func (f *harness) open(from binlog.Position) *dump.Stream {
	f.t.Helper()
	s, err := dump.Open(
		f.t.Context(),
		dump.Config{
			MySQL: f.config(), ServerID: 4711 + rand.Uint32N(1e6),
			Heartbeat: 100 * time.Millisecond, Tables: f.tables,
		},
		from,
	)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = s.Close() })
	return s
}

// write runs n random transactions and returns what a stream must yield.
func (f *harness) write(rnd *rand.Rand, n, firstID int) []string {
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
				f.exec(
					fmt.Sprintf("UPDATE shop.%s SET v = '%s', kind = 'y', y = 1999 WHERE id = %d",
						table, v+"~", i),
				)
				live[table] = slices.DeleteFunc(ids, func(o int) bool { return o == i })
				fmt.Fprintf(&rows, "update %s %d 1999 %s y|", table, i, v+"~")
			case len(ids) > 3 && rnd.IntN(3) == 0:
				f.exec(fmt.Sprintf("INSERT INTO shop.other VALUES (%d, '%s')", id, v))
				id++
			default:
				f.exec(
					fmt.Sprintf("INSERT INTO shop.%s VALUES (%d, 2024, '%s', 'x')", table, id, v),
				)
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
			// The statement is not logged, but it begins a file.
		}
	}
	return want
}

// seen is what a stream yielded up to a Commit or Statement.
type seen struct {
	rows     string
	position binlog.Position
}

// render appends rows as "insert a 1 v|..." in order.
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

// take reads until n transactions or statements have come.
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
				before = *p
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
			out = append(out, seen{string(rows), *s.Position()})
			rows = rows[:0]
		}
	}
	return out
}

func check(t *testing.T, got []seen, want []string) {
	t.Helper()
	for i, w := range want {
		if got[i].rows != w {
			t.Fatalf("transaction %d is\n%q, want\n%q", i, got[i].rows, w)
		}
	}
}

// reachesEnd waits until the stream's file and offset are those of the server.
func (f *harness) reachesEnd(s *dump.Stream, end binlog.Position) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	for s.Position().CompareFile(end) < 0 {
		ev, err := s.Next(ctx)
		if err != nil {
			f.t.Fatalf("at %s:%d, on the way to %s:%d: %v", s.Position().File, s.Position().Offset,
				end.File, end.Offset, err)
		}
		if ev.Kind != binlog.Progress {
			f.t.Fatalf("there was another event: %v", ev)
		}
	}
}
