package query_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

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
			"UNIQUE y (n), UNIQUE x (b(3)), UNIQUE m (b, a), UNIQUE w (n), UNIQUE v (b, n), "+
			"UNIQUE u (n, a), UNIQUE t (n, b(3)))",
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
	if s.kind.IsMariaDB() {
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
	// Not t (a prefix), and one of w and y, which have the same columns.
	if u := got[2].NullableUnique; !reflect.DeepEqual(u, [][]int{{0}, {0, 2}, {1, 0}}) {
		t.Errorf("unique keys with nullable columns are %v", u)
	}
	one, err := readTable(t, c, "tables", "a")
	if err != nil || len(one.Columns) != len(a.Columns) {
		t.Errorf("one table is %v, %v", one, err)
	}
	testFlavorTables(t, s, c)
}

// testFlavorTables reads tables that only one of the flavors has.
func testFlavorTables(t *testing.T, s server, c *mysql.Conn) {
	if s.kind.IsMariaDB() {
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
	emoji, err := readTable(t, c, "tables", "emoji")
	if err != nil {
		t.Fatal(err)
	}
	if err := emoji.CheckReadable(nil); err == nil ||
		!strings.Contains(err.Error(), "tables.emoji.e") {
		t.Errorf("a member that the server hides: %v", err)
	}
}

// Other sessions create and drop tables of the same database all the time. Reading wanted tables
// once failed because of that.
func testTablesBesideDDL(t *testing.T, s server) {
	c, other := s.dial(t), s.dial(t)
	exec(t, c, "CREATE DATABASE beside")
	const wanted = 30
	for i := range wanted {
		exec(t, c, fmt.Sprintf("CREATE TABLE beside.t%d (id INT PRIMARY KEY)", i))
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, sql := range []string{
				"CREATE TABLE beside.other (id INT PRIMARY KEY)", "DROP TABLE beside.other",
			} {
				if err := other.Exec(t.Context(), sql); err != nil {
					t.Errorf("%s: %v", sql, err)
					return
				}
			}
			select {
			case <-quit:
				return
			default:
			}
		}
	}()
	defer func() { close(quit); <-done }()
	for range 20 {
		tables, err := query.Tables(t.Context(), c, func(database, table string) bool {
			return database == "beside" && table != "other"
		})
		if err != nil || len(tables) != wanted {
			t.Fatalf("%d tables, %v", len(tables), err)
		}
	}
}
