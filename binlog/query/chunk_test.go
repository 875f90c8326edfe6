package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

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
		"double": {
			"a double", "a",
			"(0.1),(0.2),(0.30000000000000004),(0.3),(-1.5),(0),(1e15),(1e17),(123456789.123)," +
				"(1e-7),(1.7976931348623157e308),(-1.7976931348623157e308)," +
				"(2.2250738585072014e-308)," +
				"(9007199254740993),(9007199254740994),(1e100),(0.1e-5),(-0.1)",
		},
		"float": {
			"a float, b float(7,2), c double(9,3)", "a, b, c",
			"(0.1,0.1,0.1),(0.1,0.1,0.2),(0.1,12345.67,0.1),(0.2,0,0),(0.3,0,0),(-0.1,0,0)," +
				"(3.4028234e38,0,0),(1.17549435e-38,0,0),(16777217,0,0),(16777216,1,0)," +
				"(16777218,0,0),(1e10,0,0),(0.1000001,0,0),(0.10000001,3,3)",
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
	if s.kind.IsMariaDB() {
		// Its index has the order of the years: 1970, 1999, 2000, 2001, 2069.
		cases["shortyear"] = struct{ columns, key, values string }{
			"a year(2), b int", "a, b", "(0,1),(1,1),(1,2),(69,0),(70,1),(99,1),(99,2)",
		}
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
			readMatching(t, c, table)
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

// testPrefix reads the rows between two values of the first key column, and finds the largest one.
func testPrefix(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.prefix (a bigint unsigned ZEROFILL, b int, PRIMARY KEY (a, b))")
	table, err := readTable(t, c, "shop", "prefix")
	if err != nil {
		t.Fatal(err)
	}
	request := query.ChunkRequest{
		Table: table, Limit: 9, FindMaximum: true,
		After: [][]byte{[]byte("1")}, Until: [][]byte{[]byte("9223372036854775809")},
	}
	read := func() (rows []string, result query.ChunkResult) {
		result, err := query.Read(t.Context(), c, request, binlog.Position{},
			func(r *binlog.Row) error {
				b, err := r.AppendText(nil, 1)
				rows = append(rows, string(b))
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		return rows, result
	}
	if rows, result := read(); len(rows) > 0 || len(result.Maximum) > 0 {
		t.Errorf("without rows: %v, %+v", rows, result)
	}
	exec(t, c, "INSERT INTO shop.prefix VALUES (0,1), (1,2), (1,3), (2,4), "+
		"(9223372036854775809,5), (9223372036854775809,6), (9223372036854775810,7), "+
		"(18446744073709551615,8)")
	rows, result := read()
	if !slices.Equal(rows, []string{"4", "5", "6"}) || result.Done ||
		!slices.EqualFunc(result.Last, request.Until, bytes.Equal) ||
		string(bytes.TrimLeft(result.Maximum, "0")) != "18446744073709551615" {
		t.Errorf("read %v, %+v", rows, result)
	}
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
	// So does one that begins at a floating-point number.
	exec(t, c, "CREATE TABLE shop.floats (f float, g double, PRIMARY KEY (f, g))",
		"INSERT INTO shop.floats SELECT a / 10, c / 10 FROM shop.big", "ANALYZE TABLE shop.floats")
	if table, err = readTable(t, c, "shop", "floats"); err != nil {
		t.Fatal(err)
	}
	exec(t, c, "FLUSH STATUS")
	res, err = query.Read(
		t.Context(), c,
		query.ChunkRequest{
			Table: table, Limit: 10,
			After: [][]byte{[]byte("0.10000000149011612"), []byte("15.5")},
		},
		binlog.Position{},
		func(*binlog.Row) error { return nil },
	)
	if err != nil || res.Rows != 10 || string(res.Last[1]) != "16.5" {
		t.Fatalf("%+v, %v", res, err)
	}
	mustReadFew(t, c)
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
