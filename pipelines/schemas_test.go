package pipelines_test

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
)

// Tables that log other rows than they hold are not followed.
func testNotFollowed(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE part (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
		"CREATE TABLE my (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
		"CREATE TABLE whole (id INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=(part) "+
			"INSERT_METHOD=LAST",
		"CREATE TABLE mem (id INT PRIMARY KEY, v INT) ENGINE=MEMORY",
		"CREATE VIEW vi AS SELECT * FROM t",
	)
	const (
		merge = "its engine MERGE shows the rows of other tables"
		union = "it is in the UNION of the MERGE table"
	)
	for table, why := range map[string]string{
		"whole": merge, "part": union,
		"mem": "its engine MEMORY loses all rows", "vi": "it is a view",
	} {
		start(
			t,
			d.config(`.*": {}`, "."+table+`": {}`),
			newMemory(),
			"",
		).mustStop("test.yaml", d.name+"."+table+" cannot be followed: "+why)
	}
	m := newMemory()
	r := start(t, d.config(), m, "")
	d.exec("INSERT INTO whole VALUES (1, 1)", "INSERT INTO mem VALUES (1, 1)",
		"INSERT INTO t VALUES (1, 1)", "CREATE OR REPLACE VIEW va AS SELECT * FROM mem",
		"DROP VIEW vi", "CREATE TABLE vi (id INT PRIMARY KEY, v INT)",
		"INSERT INTO vi VALUES (5, 5)")
	m.waitAt(t, d.end())
	for _, table := range []string{"t", "vi"} {
		mustBeEqual(t, m.rows(table), d.rows(table))
	}
	for _, table := range []string{"whole", "part", "mem", "va"} {
		if n := len(m.rows(table)); n > 0 {
			t.Errorf("%d rows of %s are in the data", n, table)
		}
		if list := fmt.Sprint(r.pipeline.Stats().Unmapped); !strings.Contains(list,
			d.name+"."+table) {
			t.Errorf("%s is not listed in %s", table, list)
		}
	}
	d.exec(
		"CREATE TABLE more (id INT PRIMARY KEY, v INT) ENGINE=MERGE UNION=(my) INSERT_METHOD=LAST",
	)
	r.mustStop("mapped table "+d.name+".my cannot be followed",
		"UNION of the MERGE table "+d.name+".more")
}

// A table whose SELECT was revoked looks as if it had been dropped. The run fails, and a retry
// succeeds once SELECT is granted again.
func testRevoked(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"DROP USER IF EXISTS revoked", "CREATE USER revoked",
		"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO revoked")
	on := "`" + d.name + "`.`t`"
	c := d.config("user: root", "user: revoked", `.*": {}`, `.t": {}`)
	m := newMemory()
	for _, rest := range []string{"", "GRANT SELECT (id) ON " + on + " TO revoked"} {
		d.exec("GRANT SELECT ON " + on + " TO revoked")
		r := start(t, c, m, "")
		d.exec("INSERT INTO t SELECT MAX(id) + 1, 0 FROM t")
		m.waitAt(t, d.end())
		d.exec("REVOKE SELECT ON " + on + " FROM revoked")
		if rest != "" {
			r.mustFail(
				"may not read all of "+d.name+".t",
				"GRANT SELECT ON "+on+" TO `revoked`@`%`",
			)
			d.exec(rest, "GRANT SELECT ON "+on+" TO revoked")
			r = start(t, c, m, "")
			m.waitAt(t, d.end())
			// One column is left, in one statement.
			d.exec("REVOKE SELECT ON "+on+" FROM revoked", rest)
		}
		r.mustFail("may not read all of "+d.name+".t", "GRANT SELECT ON "+on+" TO `revoked`@`%`")
		start(t, c, m, "").mustFail("GRANT SELECT ON " + on + " TO `revoked`@`%`")
	}
	d.exec("GRANT SELECT ON "+on+" TO revoked", "INSERT INTO t SELECT MAX(id) + 1, 0 FROM t")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A query that waits for a statement's effect and is killed proves nothing: the table that is
// being created must not be left unmapped.
func testKilledWhileWaiting(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("CREATE TABLE n (id INT PRIMARY KEY, v INT)", "INSERT INTO n VALUES (1, 1)",
		"LOCK TABLES n WRITE")
	r = start(t, d.config(), m, "")
	d.waitForLock()
	list, err := d.conn.Query(t.Context(), "SHOW PROCESSLIST")
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Rows {
		if list.Text(i, "State") == "Waiting for table metadata lock" {
			d.exec("KILL QUERY " + list.Text(i, "Id"))
		}
	}
	r.mustFail("wait for the metadata lock of "+d.name+".n", "1317")
	d.exec("UNLOCK TABLES")
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("n"), d.rows("n"))
}

// The server's schemas are compared with the data only when the stream has reached the end of the
// binlog. Then even a change that was not logged is detected.
func testSchemasOfTheServer(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v ENUM('a', 'b'))", "INSERT INTO t VALUES (1, 'a')")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("INSERT INTO t VALUES (2, 'b')", "CREATE TABLE other (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (3, 'b')", "INSERT INTO other VALUES (7, 7)")
	want, before := d.rows("t"), d.end()
	d.exec("ALTER TABLE t ADD COLUMN w INT")
	start(
		t, d.config(), m, "",
	).mustStop("an ALTER that may change rows or columns of mapped table "+d.name+".t",
		before.String())
	mustBeEqual(t, m.rows("t"), want)
	mustBeEqual(t, m.rows("other"), d.rows("other"))

	d.exec("DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, v ENUM('a', 'b'))",
		"INSERT INTO t VALUES (1, 'a')")
	m = newMemory()
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	// Data of an older version may have a table of the MEMORY engine, which goes on.
	d.exec("SET SESSION sql_log_bin=0", "ALTER TABLE t ENGINE=MEMORY", "SET SESSION sql_log_bin=1",
		"INSERT INTO t VALUES (2, 'b')")
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO t VALUES (3, 'b')", "CREATE TABLE another (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (4, 'a')")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("SET SESSION sql_log_bin=0", "ALTER TABLE t MODIFY v ENUM('b', 'a')",
		"SET SESSION sql_log_bin=1")
	start(
		t, d.config(), m, "",
	).mustStop("mapped table "+d.name+".t has other columns or keys than the data know",
		"sql_log_bin=0", "--from snapshot")
	d.exec("SET SESSION sql_log_bin=0", "DROP TABLE t", "SET SESSION sql_log_bin=1")
	start(t, d.config(), m,
		"").mustStop("mapped table "+d.name+".t is gone from the server", "sql_log_bin=0")
}

// The members of an ENUM are in no table map, so a changed byte in the schema that the data hold
// made other values of the rows, without a word.
func testCorruptState(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v ENUM('apple', 'pear'))",
		"INSERT INTO t VALUES (1, 'apple')")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	key, piece := sink.StateKey("test"), "table:"+d.name+".t"
	fields, _ := m.Keys.HashFields(key)
	changed := strings.ReplaceAll(fields[piece], "apple", "ample")
	m.set(t, resp.AppendCommand(nil, "HSET", key, piece, changed))
	d.exec("INSERT INTO t VALUES (2, 'apple')")
	start(t, d.config(), m,
		"").mustStop(fmt.Sprintf("piece %q", piece), "its checksum is", "--from snapshot")
	if n := len(m.rows("t")); n != 1 {
		t.Errorf("%d rows were written from a corrupt state", n)
	}

	// As the version before left it, without checksums: it is read, and has them from then on.
	m.set(t, resp.AppendCommand(nil, "DEL", key))
	command := []string{"HSET", key}
	for name, value := range fields {
		if !strings.HasPrefix(name, "crc32c:") {
			command = append(command, name, value)
		}
	}
	m.set(t, resp.AppendCommand(nil, command...))
	m.set(t, resp.AppendCommand(nil, "HSET", sink.HiddenPrefix+":pipelines", "test", "v1"))
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if now, _ := m.Keys.HashFields(key); now["crc32c:"+piece] != fields["crc32c:"+piece] {
		t.Errorf("the checksum of %s is %q, want %q", piece, now["crc32c:"+piece],
			fields["crc32c:"+piece])
	}

	// A byte that was changed before there were checksums shows when the server's schema does.
	m.set(t, resp.AppendCommand(nil, "HSET", key, piece, changed))
	m.set(t, resp.AppendCommand(nil, "HSET", sink.HiddenPrefix+":pipelines", "test", "v1"))
	start(
		t, d.config(), m, "",
	).mustStop("mapped table "+d.name+".t has other columns or keys than the data know", "corrupt")
}

// testBlackhole is about what only a MySQL has.
func testBlackhole(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE hole (id INT PRIMARY KEY, v INT) ENGINE=BLACKHOLE")
	m := newMemory()
	start(t, d.config(), m, "")
	d.exec("INSERT INTO hole VALUES (1, 1)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE later (id INT PRIMARY KEY, v INT) ENGINE=BLACKHOLE",
		"INSERT INTO later VALUES (1, 1)", "INSERT INTO t VALUES (2, 2)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	for _, table := range []string{"hole", "later"} {
		if n := len(m.rows(table)); n > 0 {
			t.Errorf("%d rows are in the data that %s does not hold", n, table)
		}
	}
	start(
		t,
		d.config(`.*": {}`, `.hole": {}`),
		newMemory(),
		"",
	).mustStop("its engine BLACKHOLE holds none of the rows")
}
