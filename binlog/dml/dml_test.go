package dml_test

import (
	"strings"
	"testing"

	"rowfall/binlog/ddl"
	"rowfall/binlog/dml"
)

// Each statement has the tables that it writes and reads, or a part of the error.
func TestParse(t *testing.T) {
	for _, test := range []struct{ sql, want string }{
		{"INSERT INTO t VALUES (1, 'FROM x')", "d.t"},
		{"insert t (a, b) values (1, now()), (2, (3))", "d.t"},
		{"INSERT IGNORE INTO `o`.`t` () VALUES ()", "o.t"},
		{"INSERT INTO t SET a = 1, b = DEFAULT(b)", "d.t"},
		{
			"INSERT INTO t PARTITION (p0) (a) VALUES (1) " +
				"ON DUPLICATE KEY UPDATE a = VALUES(a), b = 2", "d.t",
		},
		{"INSERT INTO t VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a", "d.t"},
		{
			"REPLACE INTO t SELECT a, b FROM u, o.w AS z WHERE u.x IN (SELECT y FROM v)",
			"d.t < d.u o.w d.v",
		},
		{"INSERT INTO t (SELECT 1 FROM u)", "d.t < d.u"},
		{"INSERT INTO t TABLE u", "d.t < d.u"},
		{
			"INSERT INTO t WITH c AS (SELECT 1 FROM u) SELECT * FROM c JOIN d.w USING (id)",
			"d.t < d.u d.w",
		},
		{
			"INSERT INTO t SELECT * FROM (SELECT x FROM u) AS s, (v CROSS JOIN w), x ORDER BY 1, 2",
			"d.t < d.u d.v d.w d.x",
		},
		{
			"INSERT INTO t SELECT * FROM ((u JOIN v ON u.a = v.a AND (u.b, 1) = (v.b, 1))), w " +
				"FOR UPDATE",
			"d.t < d.u d.v d.w",
		},
		{
			"INSERT INTO t SELECT j.* FROM u, " +
				"JSON_TABLE(u.doc, '$[*]' COLUMNS (a INT PATH '$.a')) j, v",
			"d.t < d.u d.v",
		},
		{"INSERT INTO t SELECT * FROM u USE INDEX FOR JOIN (a, b), v", "d.t < d.u d.v"},
		{"INSERT INTO t SELECT TRIM(LEADING 'x' FROM a), EXTRACT(DAY FROM b) FROM u", "d.t < d.u"},
		{"INSERT INTO t SELECT 1 FROM DUAL", "d.t"},
		{"INSERT INTO t SELECT 1 FROM u UNION SELECT 2 FROM v LIMIT 1, 2", "d.t < d.u d.v"},
		{
			"INSERT INTO t SELECT a, RANK() OVER (PARTITION BY b ORDER BY c) FROM u " +
				"GROUP BY a, b WITH ROLLUP",
			"d.t < d.u",
		},
		{"INSERT INTO `from` SELECT `join`, u.`select` FROM u", "d.from < d.u"},
		{"REPLACE INTO `percona`.`checksums` (db, tbl) SELECT 'shop', 'o', COUNT(*) AS cnt, " +
			"COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', `id`, CONCAT(ISNULL(`v`)))) " +
			"AS UNSIGNED)), 10, 16)), 0) AS crc FROM `shop`.`o` FORCE INDEX(`PRIMARY`) WHERE " +
			"((`id` >= '1')) AND ((`id` <= '9')) /*checksum chunk*/", "percona.checksums < shop.o"},

		{"UPDATE t SET a = 1 WHERE b = 2", "d.t"},
		{"UPDATE LOW_PRIORITY IGNORE o.t AS x SET x.a = 1 ORDER BY a, b LIMIT 1", "o.t"},
		{
			"UPDATE t JOIN u ON t.id = u.id SET t.a = u.a, t.b = (SELECT MAX(b) FROM v)",
			"d.t < d.u d.v",
		},
		{"UPDATE t, u SET a = 1", "d.t d.u"},
		{"UPDATE t x, u y SET x.a = 1, y.b = 2", "d.t d.u"},
		{"UPDATE t, o.u SET o.u.a = 1, o.u.b = (1, 2)", "o.u < d.t"},
		{"UPDATE (t LEFT JOIN (SELECT id FROM u) s ON s.id = t.id) SET t.a = 1", "d.t < d.u"},
		{"WITH c AS (SELECT 1 AS id FROM u) UPDATE t JOIN c ON c.id = t.id SET a = 1", "d.t < d.u"},

		{"DELETE FROM t WHERE a = 1 ORDER BY a, b RETURNING a, b", "d.t"},
		{"DELETE QUICK FROM t AS x WHERE x.a IN (SELECT a FROM u)", "d.t < d.u"},
		{"DELETE t, x.* FROM t JOIN u AS x ON t.id = x.id, v", "d.t d.u < d.v"},
		{"DELETE FROM t, o.u.* USING t JOIN o.u", "d.t o.u"},
		{"WITH c AS (SELECT 1) DELETE FROM t WHERE id IN (SELECT * FROM c)", "d.t"},

		{
			"LOAD DATA LOCAL INFILE '/tmp/INTO TABLE x' REPLACE INTO TABLE `t` CHARACTER SET " +
				"utf8mb4 FIELDS TERMINATED BY '\\t' LINES TERMINATED BY '\\n' (`a`, @b) " +
				"SET c = UPPER(@b)", "d.t",
		},
		{"ANALYZE FORMAT=JSON UPDATE t SET a = 1", "d.t"},
		{"/* c */ INSERT INTO t VALUES (1", "a parenthesis is not closed"},

		{"INSERT INTO t VALUES (f(1))", `"f" may be a stored function`},
		{"INSERT INTO t VALUES (o.abs(1))", `"abs" may be a stored function`},
		{"INSERT INTO t VALUES (`abs`(1))", `"abs" may be a stored function`},
		{"INSERT INTO t VALUES (now (1))", `"now" may be a stored function`},
		{"UPDATE t JOIN u ON f(u.a) = 1 SET t.a = 1", `"f" may be a stored function`},
		{"UPDATE t SET a = 1 WHERE (a) = f /* c */ (1)", `"f" may be a stored function`},
		{"DELETE FROM t ORDER BY f(a)", `"f" may be a stored function`},
		{"INSERT INTO t VALUES (path(1), 2)", `"path" may be a stored function`},
		{"INSERT INTO t VALUES ('a', columns(1))", `"columns" may be a stored function`},
		{"INSERT INTO t SELECT x FROM u WHERE a LIKE json_table(1)", `"json_table" may be`},
		{"DELETE FROM t WHERE a = md5(b)", `"md5" may be a stored function`},
		{"CALL p()", "CALL does not name the tables"},
		{"DO f()", "DO does not name the tables"},
		{"SELECT f()", "SELECT does not name the tables"},
		{"WITH c AS (SELECT 1) SELECT f()", "SELECT does not name the tables"},
		{"INSERT INTO t VALUES (1); DELETE FROM u", "more than one statement"},
		{"DELETE FROM t WHERE a = '1", "no end"},
		{"UPDATE t, u SET z.a = 1", `"z" is not understood`},
		{"DELETE x FROM t, u", `"x" is not understood`},
		{"INSERT INTO t SELECT * FROM {OJ u}", "not understood"},
		{"INSERT INTO t SELECT * FROM u AS x (a, b)", "not understood"},
		{"INSERT INTO", "not understood"},
		{"LOAD INDEX INTO CACHE t", "not understood"},
		{"", "not understood"},
	} {
		got := ""
		s, err := dml.Parse(test.sql, ddl.Options{Database: "d", Version: 90704})
		if err != nil {
			got = err.Error()
		} else {
			var names []string
			for _, n := range s.Written {
				names = append(names, n.String())
			}
			if len(s.Read) > 0 {
				names = append(names, "<")
			}
			for _, n := range s.Read {
				names = append(names, n.String())
			}
			got = strings.Join(names, " ")
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%s:\n%s, want %s", test.sql, got, test.want)
		}
	}
}

// The session's modes and the server's flavor decide what is a name, a string and a comment.
func TestDialect(t *testing.T) {
	for version, want := range map[int]bool{50744: true, 80046: false, 0: true} {
		_, err := dml.Parse("INSERT INTO t SELECT LAG(a) FROM u",
			ddl.Options{Database: "d", Version: version})
		if got := err != nil; got != want {
			t.Errorf("LAG of MySQL %d may be a stored function: %v (%v)", version, got, err)
		}
	}
	quotes := ddl.Options{Database: "d", SQLMode: ddl.ModeANSIQuotes}
	s, err := dml.Parse(`INSERT INTO "T" SELECT "a" FROM "u"`, quotes)
	if err != nil || s.Written[0].String() != "d.T" || s.Read[0].String() != "d.u" {
		t.Errorf("ANSI_QUOTES: %+v, %v", s, err)
	}
	lower := ddl.Options{Database: "d", LowerCaseNames: 1}
	if s, err = dml.Parse("DELETE FROM T", lower); err != nil || s.Written[0].String() != "d.t" {
		t.Errorf("lower_case_table_names: %+v, %v", s, err)
	}
	sql := "INSERT INTO t VALUES (1 /*M!100000 , f(1) */)"
	if _, err := dml.Parse(sql, ddl.Options{Database: "d", Version: 90700}); err != nil {
		t.Errorf("MySQL executes no comment of MariaDB: %v", err)
	}
	maria := ddl.Options{Database: "d", MariaDB: true, Version: 101106}
	if _, err := dml.Parse(sql, maria); err == nil {
		t.Error("MariaDB executes its comment")
	}
	if _, err := dml.Parse("DELETE FROM t", ddl.Options{}); err == nil {
		t.Error("a table without a database")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("WITH c AS (SELECT 1) UPDATE t JOIN (u, c) ON f(1) SET t.a = 1, b = 2 " +
		"WHERE x IN (SELECT 1)")
	f.Add("DELETE a, b.* FROM a, c.b USING d")
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := dml.Parse(sql, ddl.Options{Database: "d"})
		if err == nil && len(s.Written) == 0 {
			t.Fatal("a statement that writes no table")
		}
	})
}
