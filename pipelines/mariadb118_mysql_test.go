package pipelines_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"rowfall/sink"
)

// fields returns the columns of a table as the server prints them, by the first column. Columns
// are SQL expressions; an alias gives the field's name. NULL is no field.
func (d *database) fields(table, columns string) map[string]map[string]string {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), "SELECT "+columns+" FROM "+table)
	if err != nil {
		d.t.Fatal(err)
	}
	all := make(map[string]map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		fields := make(map[string]string)
		for i, cell := range row {
			if cell != nil {
				fields[r.Columns[i]] = string(cell)
			}
		}
		all[string(row[0])] = fields
	}
	return all
}

// fields returns the fields of the keys "table:id", by id.
func (m *memory) fields(table string) map[string]map[string]string {
	all := make(map[string]map[string]string)
	m.Keys.Each(table+":", func(key string) {
		all[strings.TrimPrefix(key, table+":")], _ = m.Keys.HashFields(key)
	})
	return all
}

// newTypes are the columns of a table with the types and the character sets of MariaDB 11.8, and
// what the server prints for them.
const (
	newTypes = "id UUID PRIMARY KEY, vec VECTOR(2), ip4 INET4, ip6 INET6, other UUID," +
		" at TIMESTAMP(3) NULL, txt VARCHAR(20), bin VARCHAR(20) COLLATE uca1400_as_cs," +
		" e ENUM('ä','x') CHARACTER SET utf8mb3, ucs TEXT CHARACTER SET ucs2"
	newTypesPrinted = "id, REPLACE(VEC_ToText(vec), '.0,', ',') AS vec, ip4, ip6, other, at, txt," +
		" bin, e, ucs"
)

// testNewTypes compares the types and defaults of MariaDB 11.8 with what the server prints:
// rows of the initial load, rows of the binlog, and rows that were changed while the pipeline
// was not running.
func testNewTypes(t *testing.T, d *database) {
	d.exec("SET time_zone = '+00:00', sql_mode = ''",
		"CREATE TABLE n ("+newTypes+")",
		`INSERT INTO n VALUES ('00000000-0000-0000-0000-000000000001',
			VEC_FromText('[1.5,2]'), '1.2.3.4', '::1', '6ccd780c-baba-1026-9564-5b8c656024db',
			'2038-01-19 03:14:08.5', 'Größe €', 'ß', 'ä', '文😀'),
		('00000000-0000-0000-0000-000000000002', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
			NULL)`)
	m, c := newMemory(), d.config()
	check := func() {
		t.Helper()
		m.waitAt(t, d.end())
		want := d.fields("n", newTypesPrinted)
		if got := m.fields("n"); !maps.EqualFunc(got, want, maps.Equal) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	r := start(t, c, m, "")
	check()
	d.exec(`INSERT INTO n VALUES ('f0000000-0000-4000-8000-000000000003',
			VEC_FromText('[-0.25,1e10]'), '255.255.255.255', 'fe80::1:2', UUID(),
			'2106-02-07 06:28:15.999', '\'', 'a', 'x', '')`,
		`UPDATE n SET vec = VEC_FromText('[3,4]'), at = '2100-01-01', ip6 = '::ffff:1.2.3.4',
			txt = '日本' WHERE id LIKE '%1'`)
	check()
	if got := m.fields("n")["00000000-0000-0000-0000-000000000001"]["vec"]; got != "[3,4]" {
		t.Errorf("the vector is %q", got)
	}
	r.kill()
	d.exec("ALTER TABLE n ADD COLUMN more VECTOR(1) NOT NULL DEFAULT x'0000803f'",
		"DELETE FROM n WHERE id LIKE '%2'", "UPDATE n SET ip4 = '10.0.0.1', bin = 'B'")
	r = start(t, c, m, "")
	r.mustEqual(d, &c, m, "a vector was added")
	// A session that has chosen collations logs its choice before its character set.
	d.exec("SET character_set_collations = 'utf8mb4=utf8mb4_bin'",
		"SET character_set_client = latin1",
		"CREATE TABLE `n\xfc` (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET utf8mb4)",
		"INSERT INTO `n\xfc` VALUES (1, 'a'), (2, 'b')", "UPDATE `n\xfc` SET v = 'c' LIMIT 1")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("nü"), map[string]string{"1": "c", "2": "b"})
}

// testDomains changes a table from two domains of GTIDs, restarts between the changes, and commits
// a transaction that MariaDB 11.8 writes into a binlog file of its own.
func testDomains(t *testing.T, d *database) {
	d.exec("CREATE SEQUENCE s", "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s), v TEXT)",
		"INSERT INTO t (v) VALUES ('loaded'), ('too')")
	m, c := newMemory(), d.config("max_atomic_rows: 10000", "max_atomic_rows: 100")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	other := d.dial()
	must(t, other.Exec(t.Context(), "USE `"+d.name+"`"))
	must(t, other.Exec(t.Context(), "SET gtid_domain_id = 5"))
	for i := range 3 {
		d.exec("INSERT INTO t (v) VALUES ('zero'), ('zero')", "DO SETVAL(s, "+
			fmt.Sprint(100*(i+1))+")")
		must(t, other.Exec(t.Context(), fmt.Sprintf("UPDATE t SET v = 'five %d' LIMIT 1", i)))
		r.mustEqual(d, &c, m, "changes of two domains")
		r.kill()
		d.exec("DELETE FROM t LIMIT 1")
		must(t, other.Exec(t.Context(), "INSERT INTO t (v) VALUES ('five')"))
		r = start(t, c, m, "")
	}
	r.mustEqual(d, &c, m, "restarts")
	if p := m.progress(t).Position.GTID; p.LastOf(0).IsZero() || p.LastOf(5).IsZero() {
		t.Errorf("the data are at %s, want both domains", &p)
	}
	// The file of a transaction above this threshold is the temporary file with its events.
	const threshold = 10 << 20
	d.exec(fmt.Sprintf("SET GLOBAL binlog_large_commit_threshold = %d", threshold))
	defer d.exec("SET GLOBAL binlog_large_commit_threshold = DEFAULT")
	file, calls := d.end().File, 0
	m.Before = func(*sink.Unit) error {
		if calls++; calls > 2 {
			return errCrash
		}
		return nil
	}
	d.exec("INSERT INTO t SELECT 1000 + seq, REPEAT('x', 30000) FROM seq_1_to_400")
	if d.end().File == file {
		t.Errorf("the large transaction is in %s, want a file of its own", file)
	}
	waitFor(t, "the run ends within the large transaction", r.over)
	if p := m.progress(t); !errors.Is(r.err, errCrash) || p.Partial == 0 {
		t.Errorf("the run ended with %v in part %d", r.err, p.Partial)
	}
	m.Before = nil
	r = start(t, c, m, "")
	r.mustEqual(d, &c, m, "a large transaction")
}

// testGeneratedColumns changes rows with generated columns, which MariaDB 11.8.9 logs in plain
// INSERTs only. That is no fault of a table whose generated columns are excluded.
func testGeneratedColumns(t *testing.T, d *database) {
	const columns = " (id INT PRIMARY KEY, v INT, g INT AS (v + 1) STORED, w INT," +
		" h INT AS (v + 2) VIRTUAL)"
	d.exec("CREATE TABLE t"+columns, "CREATE TABLE u"+columns)
	m := newMemory()
	c := d.config(`.*": {}`, `.u": {}
  "`+d.name+`.t": {columns: {exclude: [g, h]}}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	for _, table := range []string{"t", "u"} {
		d.exec("INSERT INTO "+table+" (id, v, w) VALUES (1, 1, 1), (2, NULL, 2), (3, 3, 3)",
			"REPLACE INTO "+table+" (id, v, w) VALUES (3, 4, NULL)")
	}
	for _, sql := range []string{
		"UPDATE t SET v = v + 10", "DELETE FROM t WHERE id = 1", "UPDATE t SET id = 7 WHERE id = 2",
		"INSERT INTO t (id, v) VALUES (3, 9) ON DUPLICATE KEY UPDATE v = 12",
		"DELETE FROM u WHERE id = 1",
	} {
		d.exec(sql)
	}
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	want := map[string]map[string]string{
		"3": {"id": "3", "v": "12"}, "7": {"id": "7", "w": "2"},
	}
	if got := m.fields("t"); !maps.EqualFunc(got, want, maps.Equal) {
		t.Errorf("the fields are %q, want %q", got, want)
	}
	if p := m.progress(t); p.Quarantined != `["`+d.name+`.u"]` {
		t.Errorf("the tables in quarantine are %s, want u", p.Quarantined)
	}
	mustBeEqual(t, m.rows("u"), map[string]string{"1": "1", "2": "", "3": "3"})
}

// testUnfollowedTables has sequences and tables with system versioning in a mapped database. The
// sequences are not mapped, and other tables continue.
func testUnfollowedTables(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE SEQUENCE s",
		"CREATE TABLE old (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
		"INSERT INTO old VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("DO NEXTVAL(s)", "INSERT INTO t VALUES (NEXTVAL(s), 1)", "UPDATE old SET v = 2",
		"CREATE SEQUENCE s2", "DO NEXTVAL(s2)", "ALTER SEQUENCE s2 RESTART 7", "DROP SEQUENCE s2",
		"CREATE TABLE later (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
		"INSERT INTO later VALUES (1, 1)", "DELETE FROM later",
		"CREATE TABLE p (id INT, v INT, s DATE, e DATE, PERIOD FOR w (s, e), UNIQUE (id, "+
			"w WITHOUT OVERLAPS), PRIMARY KEY (id, s))",
		"INSERT INTO p VALUES (1, 1, '2020-01-01', '2020-12-31')",
		"UPDATE p FOR PORTION OF w FROM '2020-03-01' TO '2020-04-01' SET v = 2",
		"DELETE FROM p FOR PORTION OF w FROM '2020-05-01' TO '2020-06-01'")
	r.waitAt(m, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	want := make(map[string]string)
	for _, f := range d.fields("p", "CONCAT(id, ':', s) AS k, v") {
		want[f["k"]] = f["v"]
	}
	mustBeEqual(t, m.rows("p"), want)
}

// testAlterPhases logs each ALTER TABLE when it starts and when it ends. With on_alter: stop, the
// pipeline would end if it applied both, or an ALTER TABLE that has failed.
func testAlterPhases(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 1)",
		"SET binlog_alter_two_phase = ON")
	m, c := newMemory(), d.config(`.*": {}`, `.*": {on_alter: stop}`)
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	for _, sql := range []string{
		"ALTER TABLE t ADD COLUMN w INT", "ALTER TABLE t MODIFY w BIGINT FIRST",
		"ALTER TABLE t RENAME COLUMN v TO w2, RENAME COLUMN w TO v", "ALTER TABLE t DROP COLUMN w2",
	} {
		d.exec(sql, "INSERT INTO t (id) SELECT MAX(id) + 1 FROM t", "UPDATE t SET v = 7 LIMIT 1")
		r.mustEqual(d, &c, m, sql)
	}
	d.exec("UPDATE t SET v = 7")
	if err := d.conn.Exec(t.Context(),
		"ALTER TABLE t ADD UNIQUE (v), ADD x INT NOT NULL DEFAULT 3"); err == nil {
		t.Error("the ALTER TABLE has not failed")
	}
	d.exec("INSERT INTO t (id) VALUES (100)", "DELETE FROM t WHERE id = 1")
	r.mustEqual(d, &c, m, "a failed ALTER TABLE")
	if p := m.progress(t); p.Quarantined != "" {
		t.Errorf("the tables in quarantine are %s", p.Quarantined)
	}
}
