package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// setups are the three kinds of servers that Read handles differently.
var setups = []struct {
	name string
	kind servers.Kind
	gtid bool
	args []string
}{
	// The delay lies between the write to the binlog, which every reader sees, and the engine
	// commit: the gap that Read must handle. With sync_binlog=0 the binlog's end does not wait.
	{
		"mysql-gtid", servers.MySQL, true,
		[]string{"--sync-binlog=0", "--binlog-group-commit-sync-delay=20000", "--federated"},
	},
	{
		"mysql", servers.MySQL, false,
		[]string{"--sync-binlog=0", "--binlog-group-commit-sync-delay=20000"},
	},
	{"mariadb", servers.MariaDB, false, nil},
}

type server struct {
	addr string
	kind servers.Kind
	gtid bool
}

func each(t *testing.T, f func(t *testing.T, s server)) {
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) {
			db := servertest.Database(t, s.kind,
				servers.DatabaseOptions{GTID: s.gtid, Args: s.args})
			f(t, server{db.Addr(), s.kind, s.gtid})
		})
	}
}

func (s server) dial(t *testing.T) *mysql.Conn { return s.dialAs(t, "root", "") }

func (s server) dialAs(t *testing.T, user, password string) *mysql.Conn {
	t.Helper()
	c, err := mysql.Dial(t.Context(),
		mysql.Config{Addresses: []string{s.addr}, User: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exec(t *testing.T, c *mysql.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.300s: %v", sql, err)
		}
	}
}

func rows(t *testing.T, c *mysql.Conn, sql string) [][]mysql.Cell {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%.300s: %v", sql, err)
	}
	return r.Rows
}

// readTable returns one table as it is now.
func readTable(t *testing.T, c *mysql.Conn, database, name string) (*binlog.Table, error) {
	t.Helper()
	tables, err := query.Tables(t.Context(), c,
		func(d, n string) bool { return d == database && n == name })
	if err != nil {
		return nil, err
	}
	if len(tables) != 1 {
		t.Fatalf("%d tables are named %s.%s, want 1", len(tables), database, name)
	}
	return tables[0], nil
}

func TestServers(t *testing.T) {
	each(t, func(t *testing.T, s server) {
		exec(t, s.dial(t), "CREATE DATABASE shop CHARACTER SET utf8mb4")
		t.Run("tables", func(t *testing.T) { testTables(t, s) })
		t.Run("engines", func(t *testing.T) { testEngines(t, s) })
		t.Run("foreign keys", func(t *testing.T) { testForeignKeys(t, s) })
		t.Run("chunks", func(t *testing.T) { testChunks(t, s) })
		t.Run("index", func(t *testing.T) { testIndex(t, s) })
		t.Run("bracket", func(t *testing.T) { testBracket(t, s) })
		t.Run("cancel", func(t *testing.T) { testCancel(t, s) })
		t.Run("wrong server", func(t *testing.T) { testWrongServer(t, s) })
		t.Run("end", func(t *testing.T) { testEnd(t, s) })
		t.Run("check", func(t *testing.T) { testCheck(t, s) })
		t.Run("locked", func(t *testing.T) { testLocked(t, s) })
		t.Run("now", func(t *testing.T) { testNow(t, s) })
	})
}

func testTables(t *testing.T, s server) {
	c := s.dial(t)
	exec(
		t, c, "CREATE DATABASE tables CHARACTER SET utf8mb4",
		`CREATE TABLE tables.a (
			b int unsigned NOT NULL, a varchar(20) CHARACTER SET latin1 NOT NULL,
			e enum('it''s','b\\s','n\nl','c,d)','') , s set('x','ü'),
			d decimal(10,2) unsigned, dt datetime(3), ts timestamp NULL,
			bi bit(7), bn binary(16), tx mediumtext, bl longblob, y year, j json,
			vg int GENERATED ALWAYS AS (b+1) VIRTUAL, sg int GENERATED ALWAYS AS (b+1) STORED,
			df datetime DEFAULT CURRENT_TIMESTAMP, inv int INVISIBLE,
			f float, dbl double, t time(6), g geometry, c char(5) CHARACTER SET ucs2,
			PRIMARY KEY (a, b))`,
		"CREATE TABLE tables.uniq (n int, b varchar(30) NOT NULL, a int NOT NULL, UNIQUE z (a), "+
			"UNIQUE y (n), UNIQUE x (b(3)), UNIQUE m (b, a))",
		"CREATE TABLE tables.none (a int)",
		"CREATE VIEW tables.view AS SELECT 1 one",
	)
	got, err := query.Tables(t.Context(), c,
		func(database, _ string) bool { return database == "tables" })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0].Name != "a" || got[1].Name != "none" || got[2].Name != "uniq" {
		t.Fatalf("tables are %v", got)
	}
	if v := got[3]; v.Name != "view" || !strings.Contains(v.NotFollowed, "view") {
		t.Errorf("a view is %+v", v)
	}
	a := got[0]
	if a.FullName() != "tables.a" || !slices.Equal(a.Primary, []int{1, 0}) {
		t.Errorf("%s has primary key %v", a.FullName(), a.Primary)
	}
	describe := func(name string) string {
		c := a.Columns[a.Column(name)]
		return fmt.Sprintf("%d %v %v %v %v %q %q %d %d", c.Type, c.Unsigned, c.Nullable,
			c.Invisible, c.Generated, c.Charset, c.Values, c.Length, c.Decimals)
	}
	jsonType, jsonCharset := binlog.TypeJSON, ""
	if s.kind == servers.MariaDB {
		jsonType, jsonCharset = binlog.TypeText, "utf8mb4"
	}
	for name, want := range map[string]string{
		"b": fmt.Sprintf("%d true false false false \"\" [] 0 0", binlog.TypeInt),
		"a": fmt.Sprintf("%d false false false false \"latin1\" [] 20 0", binlog.TypeVarchar),
		"e": fmt.Sprintf("%d false true false false \"utf8mb4\" %q 0 0", binlog.TypeEnum,
			[]string{"it's", "b\\s", "n\nl", "c,d)", ""}),
		"s": fmt.Sprintf("%d false true false false \"utf8mb4\" %q 0 0", binlog.TypeSet,
			[]string{"x", "ü"}),
		"d":   fmt.Sprintf("%d true true false false \"\" [] 10 2", binlog.TypeDecimal),
		"dt":  fmt.Sprintf("%d false true false false \"\" [] 0 3", binlog.TypeDatetime),
		"bi":  fmt.Sprintf("%d false true false false \"\" [] 7 0", binlog.TypeBit),
		"bn":  fmt.Sprintf("%d false true false false \"\" [] 16 0", binlog.TypeBinary),
		"tx":  fmt.Sprintf("%d false true false false \"utf8mb4\" [] 0 0", binlog.TypeText),
		"bl":  fmt.Sprintf("%d false true false false \"\" [] 0 0", binlog.TypeBlob),
		"j":   fmt.Sprintf("%d false true false false %q [] 0 0", jsonType, jsonCharset),
		"vg":  fmt.Sprintf("%d false true false true \"\" [] 0 0", binlog.TypeInt),
		"sg":  fmt.Sprintf("%d false true false true \"\" [] 0 0", binlog.TypeInt),
		"df":  fmt.Sprintf("%d false true false false \"\" [] 0 0", binlog.TypeDatetime),
		"inv": fmt.Sprintf("%d false true true false \"\" [] 0 0", binlog.TypeInt),
		"t":   fmt.Sprintf("%d false true false false \"\" [] 0 6", binlog.TypeTime),
		"c":   fmt.Sprintf("%d false true false false \"ucs2\" [] 5 0", binlog.TypeChar),
	} {
		if got := describe(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if len(got[1].Key()) != 0 {
		t.Errorf("a table without a key has %v", got[1].Key())
	}
	// Not y (nullable), not x (a prefix); m comes before z.
	if u := got[2].Unique; len(u) != 2 || !slices.Equal(u[0], []int{1, 2}) ||
		!slices.Equal(u[1], []int{2}) {
		t.Errorf("unique keys are %v", u)
	}
	one, err := readTable(t, c, "tables", "a")
	if err != nil || len(one.Columns) != len(a.Columns) {
		t.Errorf("one table is %v, %v", one, err)
	}
	testFlavorTables(t, s, c)
}

// testFlavorTables reads tables that only one of the flavors has.
func testFlavorTables(t *testing.T, s server, c *mysql.Conn) {
	if s.kind == servers.MariaDB {
		exec(t, c, "CREATE TABLE tables.m (u uuid PRIMARY KEY, i4 inet4, i6 inet6)",
			"CREATE SEQUENCE tables.seq",
			"CREATE TABLE tables.ver (a int PRIMARY KEY) WITH SYSTEM VERSIONING")
		m, err := readTable(t, c, "tables", "m")
		if err != nil || m.Columns[0].Type != binlog.TypeUUID ||
			m.Columns[1].Type != binlog.TypeInet4 ||
			m.Columns[2].Type != binlog.TypeInet6 {
			t.Errorf("%+v, %v", m, err)
		}
		exec(t, c, "CREATE TABLE tables.lu (id int PRIMARY KEY, v text, UNIQUE lk (v))",
			"CREATE TABLE tables.arc (id int AUTO_INCREMENT PRIMARY KEY, v int) ENGINE=Aria")
		// Tables must return them with NotFollowed, so that a wildcard can leave them out: rows of
		// an unlisted table once stopped the pipeline.
		all, err := query.Tables(t.Context(), c,
			func(database, _ string) bool { return database == "tables" })
		if err != nil {
			t.Fatal(err)
		}
		why := map[string]string{
			"view": "view", "seq": "sequence", "ver": "SYSTEM VERSIONING",
			"lu": "UNIQUE key lk",
		}
		for _, table := range all {
			if want := why[table.Name]; (want == "") != (table.NotFollowed == "") ||
				!strings.Contains(table.NotFollowed, want) {
				t.Errorf("%s is not followed: %q, want %q", table.Name, table.NotFollowed, want)
			}
			delete(why, table.Name)
		}
		if len(why) > 0 {
			t.Errorf("not listed: %v", why)
		}
		return
	}
	exec(t, c, "SET GLOBAL show_gipk_in_create_table_and_information_schema=OFF",
		"SET SESSION sql_generate_invisible_primary_key=ON",
		"CREATE TABLE tables.g (v vector(3), n int NOT NULL, UNIQUE fk ((n+1)))")
	g, err := readTable(t, s.dial(t), "tables", "g")
	if err != nil || len(g.Columns) != 3 || !g.Columns[0].Invisible ||
		!slices.Equal(g.Primary, []int{0}) ||
		len(g.Unique) != 0 ||
		g.Columns[1].Type != binlog.TypeVector {
		t.Errorf("%+v, %v", g, err)
	}
	exec(t, c, "CREATE TABLE tables.emoji (a int PRIMARY KEY, e enum('😀'))")
	if _, err := readTable(t, c, "tables", "emoji"); err == nil ||
		!strings.Contains(err.Error(), "tables.emoji.e") {
		t.Errorf("a member that the server hides: %v", err)
	}
}

// testChunks reads tables with all kinds of keys in chunks, and requires that every row is read
// once.
func testChunks(t *testing.T, s server) {
	c := s.dial(t)
	cases := map[string]struct{ columns, key, values string }{
		"composite": {"a varchar(20) COLLATE utf8mb4_general_ci, b int, c datetime(3)", "a, b, c", `
			('a',1,'2024-01-01 00:00:00.001'),('A',1,'2024-01-01 00:00:00.002'),
			('ä',1,'2024-01-01'),('a',2,'2024-01-01'),('a',-3,'1000-01-01'),
			('',0,'9999-12-31 23:59:59.999'),('b''\\',1,'2024-01-01'),
			('B',0,'0000-00-00'),('😀',1,'2024-01-01'),('z ',1,'2024-01-01')`},
		"unsigned": {
			"a bigint unsigned", "a",
			"(0),(1),(18446744073709551615),(9223372036854775808),(7),(9)",
		},
		"signed": {
			"a bigint, b tinyint", "a, b",
			"(-9223372036854775808,1),(-1,-128),(-1,127),(0,0),(9223372036854775807,5)",
		},
		"decimal": {
			"a decimal(30,10)",
			"a",
			"(-1.5),(0),(12345678901234567890.0123456789),(12345678901234567890.0123456788)," +
				"(-0.0000000001),(2)",
		},
		"enum": {
			"a enum('z','b','a','','it''s'), b set('q','r','s')", "a, b",
			"('z',''),('z','q,s'),('z','s'),('b','r'),('a','q'),('','q'),('it''s','q,r,s')",
		},
		"bit": {
			"a bit(64), b bit(3)", "a, b",
			"(0,0),(1,7),(1,5),(X'FFFFFFFFFFFFFFFF',1),(X'8000000000000000',1)",
		},
		"latin1": {
			"a char(10) CHARACTER SET latin1 COLLATE latin1_german1_ci", "a",
			"('ä'),('b'),('ß'),('zz'),(''),('a b'),('a''b'),('ÿ')",
		},
		"binary": {
			"a binary(4), b varbinary(10)", "a, b",
			"('',''),('a',''),('a',X'00'),('a',X'0000'),(X'00FF',X'FF27'),(X'FFFFFFFF','x')",
		},
		"utf16": {"a varchar(10) CHARACTER SET utf16", "a", "('a'),('ö'),('😀'),('zz'),('')"},
		"gbk":   {"a varchar(10) CHARACTER SET gbk", "a", "('a'),('中'),('文'),('zz'),('')"},
		"times": {
			"a date, b time(2), c timestamp(6), d year",
			"a, b, c, d",
			"('2024-02-29','-838:59:59','2038-01-01 00:00:00.123456',2024),('2024-02-29'," +
				"'-838:59:58.99','2038-01-01',1901),('0000-00-00','00:00:00','1970-01-02',0)," +
				"('0000-00-00','00:00:00','1970-01-02',2155),('0000-00-00','838:59:59'," +
				"'0000-00-00',2000),('9999-12-31','00:00:00.01','1970-01-02',1999)",
		},
		"nopad": {
			"a varchar(10) COLLATE utf8mb4_bin", "a",
			"('a'),('A'),('a!'),('ab'),('b'),('a\\t'),('a\\tb')",
		},
		"unique": {
			"a int NOT NULL, b varchar(9) NOT NULL", "",
			"(1,'x'),(2,'a'),(3,'c'),(4,'b'),(5,'')",
		},
		"loose": {
			"a varchar(9) NOT NULL COLLATE utf8mb4_general_ci, b int NOT NULL, c enum('z'," +
				"'a') NOT NULL",
			"none",
			"('a',1,'z'),('A',1,'z'),('ä',1,'z'),('a ',1,'z'),('a',1,'a'),('a',0,'a'),('b',1," +
				"'a'),('Ä',1,'z'),('',1,'z')",
		},
		// No calendar has these dates, but a table may. The read once never ended at such a date.
		"invalid": {
			"a date, b datetime(3)",
			"a, b",
			"('2021-02-30','2021-02-30 10:00:00.5'),('2021-02-30','2021-02-31 10:00:00.123')," +
				"('2021-02-31','2021-04-31')," +
				"('2021-02-30','2021-03-00'),('2021-03-00','2021-00-00'),('2021-00-31'," +
				"'2021-00-00'),('0000-02-29','0000-00-31'),('0000-01-01','0000-02-30')," +
				"('0000-00-00','0000-00-00'),('1900-02-29','9999-12-31'),('2000-02-29'," +
				"'9999-12-31 23:59:59.999')",
		},
		"year": {"a year", "a", "('0000'),(1901),(1999),(2000),(2001),(2155)"},
		"time": {
			"a time(3)",
			"a",
			"('-838:59:59'),('838:59:59'),('-00:00:00.001'),('00:00:00'),('24:00:00')," +
				"('-00:00:01'),('99:00:00'),('100:00:00.5')",
		},
		"stamp": {
			"a timestamp", "a",
			"('0000-00-00'),('1970-01-01 00:00:01'),('2038-01-19 03:14:07'),('2021-02-28')",
		},
		"zero": {"a enum('z','a','') , b int", "a, b", "(0,1),(0,2),('z',1),('a',1),('',1),('',2)"},
		"wide": {
			"a set(" + members(64) + ")",
			"a",
			"(''),('m1'),('m1,m2'),('m63'),('m1,m63'),('m2,m63'),('m64'),('m1,m64'),('m2,m64')," +
				"('m63,m64')",
		},
		"narrow": {
			"a set(" + members(53) + ")", "a",
			"(''),('m1'),('m53'),('m1,m53'),('m2,m53'),('m52,m53'),('m1,m52,m53')",
		},
		"desc": {"a int, b int", "a DESC, b", "(1,1),(1,2),(1,3),(2,1),(2,2),(3,9),(0,0)"},
	}
	if s.kind == servers.MariaDB {
		cases["uuid"] = struct{ columns, key, values string }{
			"a uuid, b inet6, c inet4",
			"a, b, c",
			"('00000000-0000-0000-0000-000000000001','::1','1.2.3.4')," +
				"('10000000-0000-0000-0000-000000000000','::1','1.2.3.4')," +
				"('10000000-0000-0000-0000-000000000000','::ffff:1.2.3.4','255.2.3.4')," +
				"('10000000-0000-0000-0000-000000000000','::ffff:1.2.3.4','3.2.3.4')," +
				"('ffffffff-0000-0000-0000-000000000000','fe80::1','0.0.0.0')",
		}
	}
	for name, k := range cases {
		t.Run(name, func(t *testing.T) {
			keys := "PRIMARY KEY (" + k.key + ")"
			switch k.key {
			case "":
				keys = "UNIQUE (b)"
			case "none": // what is equal for the collation is read too
				keys = "KEY (a)"
			}
			exec(
				t, c,
				fmt.Sprintf(
					"CREATE TABLE shop.chunk_%s (%s, id int NOT NULL AUTO_INCREMENT, KEY (id), %s)",
					name, k.columns, keys,
				),
			)
			columns := make([]string, 0, 4)
			for column := range strings.SplitSeq(k.columns, ", ") {
				columns = append(columns, column[:1])
			}
			exec(
				t, c, "SET SESSION sql_mode='ALLOW_INVALID_DATES'",
				fmt.Sprintf("INSERT INTO shop.chunk_%s (%s) VALUES %s", name,
					strings.Join(columns, ","), k.values),
				"SET SESSION sql_mode=''",
			)
			table, err := readTable(t, c, "shop", "chunk_"+name)
			if err != nil {
				t.Fatal(err)
			}
			readAgain(t, c, table)
			want := rows(t, c, "SELECT COUNT(*), @@sql_mode FROM shop.chunk_"+name)
			for _, limit := range []int{1, 2, 3} { // each row is the last of a chunk
				got := readAll(t, c, table, limit)
				slices.Sort(got)
				if fmt.Sprint(len(got)) != string(want[0][0]) ||
					len(slices.Compact(got)) != len(got) {
					t.Errorf("read rows %v out of %s, %d at once", got, want[0][0], limit)
				}
			}
			if mode := string(want[0][1]); mode != "" {
				t.Errorf("the session is left with sql_mode %s", mode)
			}
		})
	}
}

// members returns the members of a SET: 'm1','m2',...
func members(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("'m%d'", i+1)
	}
	return strings.Join(list, ",")
}

// readAll reads a table in chunks and returns the last column of its rows.
func readAll(t *testing.T, c *mysql.Conn, table *binlog.Table, limit int) []string {
	t.Helper()
	var got []string
	ch := query.ChunkRequest{
		Table: table, Key: []int{0, 1, 2}, Limit: limit,
		Server: c.Server().UUID,
	}
	for range 100 {
		n := 0
		res, err := query.Read(t.Context(), c, ch, binlog.Position{}, func(r *binlog.Row) error {
			n++
			b, err := r.AppendText(nil, len(table.Columns)-1)
			got = append(got, string(b))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n != res.Rows || res.Fence.File == "" || res.Fence.Offset == 0 ||
			res.Done != (n < limit) {
			t.Fatalf("%d rows: %+v", n, res)
		}
		if res.Done {
			return got
		}
		ch.After = res.Last
	}
	t.Fatal("the chunks do not end")
	return nil
}

// readAgain reads the second chunk of a table again, by its bounds: whatever the order
// of the key, they hold the same rows.
func readAgain(t *testing.T, c *mysql.Conn, table *binlog.Table) {
	t.Helper()
	read := func(ch query.ChunkRequest) (ids []string, res query.ChunkResult) {
		ch.Key = []int{0, 1, 2}
		res, err := query.Read(t.Context(), c, ch, binlog.Position{}, func(r *binlog.Row) error {
			b, err := r.AppendText(nil, len(table.Columns)-1)
			ids = append(ids, string(b))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids, res
	}
	_, first := read(query.ChunkRequest{Table: table, Limit: 2})
	want, second := read(query.ChunkRequest{Table: table, Limit: 2, After: first.Last})
	for _, limit := range []int{2, 3} {
		got, res := read(
			query.ChunkRequest{Table: table, Limit: limit, After: first.Last, Until: second.Last},
		)
		if !slices.Equal(got, want) || res.Done ||
			!slices.EqualFunc(res.Last, second.Last, bytes.Equal) {
			t.Errorf("limit %d: rows %v, want %v; %+v, want the end %q", limit, got, want, res,
				second.Last)
		}
	}
}

// testIndex asks the server how it would find a chunk in the middle.
func testIndex(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.big (a int, b varchar(20), c int, PRIMARY KEY (a, b, c))")
	var v []string
	for i := range 3000 {
		v = append(v, fmt.Sprintf("(%d,'%d',%d)", i/100, i/10, i))
	}
	exec(t, c, "INSERT INTO shop.big VALUES "+strings.Join(v, ","), "ANALYZE TABLE shop.big")
	table, err := readTable(t, c, "shop", "big")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, "FLUSH STATUS")
	res, err := query.Read(
		t.Context(), c,
		query.ChunkRequest{
			Table: table, Limit: 10,
			After: [][]byte{[]byte("20"), []byte("205"), []byte("2055")},
		},
		binlog.Position{},
		func(*binlog.Row) error { return nil },
	)
	if err != nil || res.Rows != 10 || string(res.Last[2]) != "2065" {
		t.Fatalf("%+v, %v", res, err)
	}
	gone := &binlog.Table{Database: "shop", Name: "gone"}
	if n, err := query.EstimateRows(t.Context(), c, []*binlog.Table{gone, table}); err != nil ||
		n[0] != 0 ||
		n[1] < 1000 ||
		n[1] > 9000 {
		t.Errorf("3000 rows are estimated as %d, %v", n, err)
	}
	mustReadFew(t, c)
	// So does one that begins at a date that no calendar has.
	exec(t, c, "CREATE TABLE shop.dates (d date, n int, PRIMARY KEY (d, n))",
		"SET SESSION sql_mode='ALLOW_INVALID_DATES'",
		"INSERT INTO shop.dates SELECT '2021-02-30', c FROM shop.big", "SET SESSION sql_mode=''",
		"ANALYZE TABLE shop.dates")
	if table, err = readTable(t, c, "shop", "dates"); err != nil {
		t.Fatal(err)
	}
	exec(t, c, "FLUSH STATUS")
	res, err = query.Read(
		t.Context(), c,
		query.ChunkRequest{
			Table: table, Limit: 10,
			After: [][]byte{[]byte("2021-02-30"), []byte("2055")},
		},
		binlog.Position{},
		func(*binlog.Row) error { return nil },
	)
	if err != nil || res.Rows != 10 || string(res.Last[1]) != "2065" {
		t.Fatalf("%+v, %v", res, err)
	}
	mustReadFew(t, c)
}

// mustReadFew fails where 100 rows or more were read in the order of an index since FLUSH
// STATUS.
func mustReadFew(t *testing.T, c *mysql.Conn) {
	t.Helper()
	for _, row := range rows(t, c, "SHOW SESSION STATUS LIKE 'Handler_read%'") {
		if string(row[0]) == "Handler_read_next" || string(row[0]) == "Handler_read_rnd_next" {
			t.Logf("%s %s", row[0], row[1])
			if len(row[1]) > 2 && string(row[0]) == "Handler_read_next" {
				t.Errorf("a chunk of 10 rows reads %s", row[1])
			}
		}
	}
}

// logged returns how many rows the binlog file holds up to an offset, and the
// GTIDs of their transactions if the server reports them.
func logged(t *testing.T, c *mysql.Conn, at binlog.Position) (inserted int, gtids string) {
	t.Helper()
	var list []string
	for _, row := range rows(t, c, "SHOW BINLOG EVENTS IN '"+at.File+"'") {
		kind, info := string(row[2]), string(row[5])
		end, err := strconv.ParseUint(string(row[4]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if end > at.Offset {
			break
		}
		if strings.HasPrefix(kind, "Write_rows") {
			inserted++
		}
		if g, found := strings.CutPrefix(info, "SET @@SESSION.GTID_NEXT= '"); found &&
			!strings.Contains(g, "ANONYMOUS") {
			list = append(list, strings.TrimSuffix(g, "'"))
		}
	}
	return inserted, strings.Join(list, ",")
}

// testBracket reads while others write. What the stream could have applied
// (it is in the binlog) must be in the rows; what the rows hold must lie
// before the fence. The plain SELECT beside it shows that without the bracket
// rows would be missed.
func testBracket(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.bracket (id int AUTO_INCREMENT PRIMARY KEY, v int)")
	table, err := readTable(t, c, "shop", "bracket")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, "FLUSH BINARY LOGS")
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	started := make(chan struct{}, 100000)
	for range 4 {
		w := s.dial(t)
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := w.Exec(t.Context(),
					"INSERT INTO shop.bracket (v) VALUES (1)"); err != nil {
					t.Error(err)
					return
				}
				started <- struct{}{}
			}
		})
	}
	defer writers.Wait()
	defer cancel()
	for range 8 {
		<-started
	}
	look := s.dial(t)
	missed := 0
	for range 12 {
		end, err := query.End(t.Context(), look)
		if err != nil {
			t.Fatal(err)
		}
		plain := count(t, c)
		at := binlog.Position{File: end.File, Offset: end.Offset}
		in, gtids := logged(t, look, at)
		if s.kind == servers.MariaDB {
			gtids = string(rows(t, look,
				fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", at.File, at.Offset))[0][0])
		}
		if at.GTID, err = binlog.ParseGTIDSet(gtids); err != nil {
			t.Fatal(err)
		}
		if s.gtid && at.GTID.IsZero() {
			t.Fatal("no GTIDs in the binlog")
		}
		if plain < in {
			missed++
		}
		res, err := query.Read(t.Context(), c,
			query.ChunkRequest{Table: table, Limit: 1 << 20, Server: c.Server().UUID}, at,
			func(*binlog.Row) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		before, _ := logged(t, look, res.Fence)
		if res.Rows < in || res.Rows > before {
			t.Errorf("read %d rows with %d applied and %d before the fence", res.Rows, in, before)
		}
		if s.kind == servers.MariaDB && res.Rows != before {
			t.Errorf("the snapshot has %d rows, the binlog up to its place %d", res.Rows, before)
		}
	}
	t.Logf("a plain SELECT would have missed rows in %d of 12 reads", missed)
	if missed == 0 && s.kind == servers.MySQL {
		t.Error("the writers do not show the gap that the bracket is about")
	}
}

func count(t *testing.T, c *mysql.Conn) int {
	t.Helper()
	n, err := strconv.Atoi(string(rows(t, c, "SELECT COUNT(*) FROM shop.bracket")[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testCancel(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.cancel (id int PRIMARY KEY)",
		"INSERT INTO shop.cancel VALUES (1),(2),(3)")
	table, err := readTable(t, c, "shop", "cancel")
	if err != nil {
		t.Fatal(err)
	}
	rowErr := errors.New("row")
	_, err = query.Read(t.Context(), c, query.ChunkRequest{Table: table, Limit: 9},
		binlog.Position{}, func(*binlog.Row) error { return rowErr })
	if !errors.Is(err, rowErr) {
		t.Errorf("row's error is %v", err)
	}
	c = s.dial(t)
	applied, err := query.End(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	// What will never be visible: a transaction from the future, or one that
	// holds its lock.
	applied.Offset += 1 << 30
	if applied.GTID, err = binlog.ParseGTIDSet(map[bool]string{
		true:  c.Server().UUID + ":1-999999",
		false: "",
	}[s.gtid]); err != nil {
		t.Fatal(err)
	}
	holder := s.dial(t)
	exec(t, holder, "BEGIN", "UPDATE shop.cancel SET id = 9 WHERE id = 3")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = query.Read(ctx, c, query.ChunkRequest{Table: table, Limit: 9}, applied,
		func(*binlog.Row) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

func testWrongServer(t *testing.T, s server) {
	c := s.dial(t)
	table := &binlog.Table{
		Database: "shop", Name: "cancel",
		Columns: []binlog.Column{{Name: "id", Type: binlog.TypeInt}}, Primary: []int{0},
	}
	for _, applied := range []binlog.Position{{}, {File: "binlog.000001", Offset: 4}} {
		_, err := query.Read(t.Context(), c,
			query.ChunkRequest{Table: table, Limit: 1, Server: "another"}, applied,
			func(*binlog.Row) error { return nil })
		if err == nil ||
			!strings.Contains(err.Error(),
				"from server "+c.Server().UUID+", but the binlog comes from another") {
			t.Errorf("reading from another server gives %v", err)
		}
	}
}

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
	if want := s.gtid || s.kind == servers.MariaDB; want != !after.GTID.IsZero() ||
		want && (!after.GTID.Contains(before.GTID) || before.GTID.Contains(after.GTID)) {
		t.Errorf("GTIDs went from %q to %q", before.GTID, after.GTID)
	}
}

func testCheck(t *testing.T, s server) {
	root := s.dial(t)
	exec(t, root, "CREATE USER poor@'%' IDENTIFIED BY 'p'", "CREATE TABLE shop.seen (a int, b int)",
		"CREATE TABLE shop.unseen (a int)", "GRANT SELECT ON shop.seen TO poor@'%'")
	patterns := []string{"shop.seen", "shop.unseen"}
	check := func(c *mysql.Conn, want ...string) {
		t.Helper()
		p, err := query.Check(t.Context(), c, patterns...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range max(len(p), len(want)) {
			if i >= len(p) || i >= len(want) || !strings.Contains(p[i].String(), want[i]) {
				t.Errorf("problems are %q, want %q", p, want)
				return
			}
		}
	}
	check(root)
	status := "REPLICATION CLIENT"
	if s.kind == servers.MariaDB {
		status = "BINLOG MONITOR"
	}
	check(
		s.dialAs(t, "poor", "p"), "GRANT "+status, "GRANT REPLICATION SLAVE",
		"all of shop.unseen: GRANT SELECT ON `shop`.`unseen` TO `poor`@`%`",
	)
	exec(t, root, "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'")
	// A user who may read one table of a wildcard was once reported to read all of them.
	patterns = []string{"shop.*", "shop.seen"}
	check(s.dialAs(t, "poor", "p"), "all of shop.*: GRANT SELECT ON `shop`.* TO `poor`@`%`")
	// Some columns of a table are not the table.
	exec(t, root, "REVOKE SELECT ON shop.seen FROM poor@'%'",
		"GRANT SELECT (a) ON shop.seen TO poor@'%'")
	patterns = []string{"shop.seen"}
	check(s.dialAs(t, "poor", "p"), "all of shop.seen")
	// A role counts when it is in use.
	patterns = []string{"shop.*"}
	exec(t, root, "CREATE ROLE reader", "GRANT SELECT ON shop.* TO reader",
		"GRANT reader TO poor@'%'")
	check(s.dialAs(t, "poor", "p"), "all of shop.*")
	if s.kind == servers.MariaDB {
		exec(t, root, "SET DEFAULT ROLE reader FOR poor@'%'")
	} else {
		exec(t, root, "SET DEFAULT ROLE reader TO poor@'%'")
	}
	check(s.dialAs(t, "poor", "p"))
	exec(t, root, "DROP ROLE reader", "GRANT SELECT ON shop.* TO poor@'%'")
	poor := s.dialAs(t, "poor", "p")
	check(poor)
	// The grants that Check asks for are all that reading takes.
	table, err := readTable(t, poor, "shop", "big")
	if err != nil {
		t.Fatal(err)
	}
	applied, err := query.End(t.Context(), poor)
	if err != nil {
		t.Fatal(err)
	}
	res, err := query.Read(t.Context(), poor, query.ChunkRequest{Table: table, Limit: 5}, applied,
		func(*binlog.Row) error { return nil })
	if err != nil || res.Rows != 5 {
		t.Errorf("reading with few grants: %+v, %v", res, err)
	}
	exec(t, root, "SET GLOBAL binlog_format=MIXED", "SET GLOBAL binlog_row_image=MINIMAL")
	check(s.dial(t), "binlog_format is MIXED", "binlog_row_image is MINIMAL")
	if s.kind == servers.MySQL {
		exec(t, root, "SET GLOBAL binlog_row_value_options=PARTIAL_JSON")
		check(s.dial(t), "binlog_format is MIXED", "binlog_row_image is MINIMAL", "PARTIAL_JSON")
	}
}
