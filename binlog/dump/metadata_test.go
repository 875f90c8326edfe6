package dump_test

import (
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/query"
)

// describe maps a table as it is now, and returns its schema.
func (f *harness) describe(name string) *binlog.Table {
	f.t.Helper()
	found, err := query.Tables(f.t.Context(), f.conn, func(database, table string) bool {
		return database == "shop" && table == name
	})
	if err != nil || len(found) != 1 {
		f.t.Fatalf("%d tables are named shop.%s, want 1; %v", len(found), name, err)
	}
	f.tables["shop."+name] = found[0]
	return found[0]
}

// A server that logs all metadata writes the first unique key of a table without a primary key as
// the primary key, and marks the columns of a key that are prefixes. Such tables were once rejected
// as altered.
func testKeys(t *testing.T, f *harness) {
	f.exec("CREATE TABLE shop.u (n INT, k INT NOT NULL, UNIQUE ku (k))")
	f.exec("CREATE TABLE shop.p (v VARCHAR(40) NOT NULL, k INT NOT NULL, PRIMARY KEY (v(5)), " +
		"UNIQUE ku (k))")
	f.exec("CREATE TABLE shop.n (k INT NOT NULL, n INT)")
	for _, name := range []string{"u", "p", "n"} {
		f.describe(name)
	}
	from := f.end()
	f.exec("INSERT INTO shop.u VALUES (1, 2)")
	f.exec("INSERT INTO shop.p VALUES ('abcdefgh', 2)")
	f.exec("INSERT INTO shop.n VALUES (3, 4)")
	check(t, take(t, f.open(from), 3),
		[]string{"insert u 1 2|", "insert p abcdefgh 2|", "insert n 3 4|"})
}

// A column whose character set was changed differs only in the metadata, and was once read in the
// old character set.
func testCharsets(t *testing.T, f *harness) {
	for _, c := range []struct{ column, then, want string }{
		{
			"v", "VARCHAR(10) CHARACTER SET ascii",
			"column v has character set latin1 in the schema and ascii in the binlog",
		},
		{"v", "VARBINARY(10)", "column v has character set latin1 in the schema and binary in " +
			"the binlog"},
		{
			"b", "CHAR(10) CHARACTER SET latin1",
			"column b has character set binary in the schema and latin1 in the binlog",
		},
	} {
		f.exec("CREATE TABLE shop.c (id INT PRIMARY KEY, x TEXT, " +
			"v VARCHAR(10) CHARACTER SET latin1, y TEXT, b BINARY(10))")
		f.describe("c")
		f.exec("ALTER TABLE shop.c MODIFY " + c.column + " " + c.then)
		from := f.end()
		f.exec("INSERT INTO shop.c (id) VALUES (1)")
		err := firstError(t, f.open(from))
		var refused *binlog.RefusedError
		if !errors.As(err, &refused) || refused.Table != "shop.c" ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %s: %v", c.column, c.then, err)
		}
		f.exec("DROP TABLE shop.c")
	}
}
