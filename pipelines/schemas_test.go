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
	waitFor(t, "the table in the UNION is in quarantine", func() bool {
		faults := r.pipeline.Stats().Quarantined
		return len(faults) == 1 && faults[0].Table == d.name+".my" &&
			strings.Contains(faults[0].Reason, "UNION of the MERGE table")
	})
}

// A table whose SELECT was revoked looks as if it had been dropped. A start fails, and a retry
// succeeds once SELECT is granted again.
func testRevoked(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"DROP USER IF EXISTS revoked", "CREATE USER revoked",
		"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO revoked")
	on := "`" + d.name + "`.`t`"
	c := d.config("user: rowfall", "user: revoked", `.*": {}`, `.t": {}`)
	m := newMemory()
	for _, rest := range []string{"", "GRANT SELECT (id) ON " + on + " TO revoked"} {
		d.exec("GRANT SELECT ON " + on + " TO revoked")
		r := start(t, c, m, "")
		d.exec("INSERT INTO t SELECT MAX(id) + 1, 0 FROM t")
		m.waitAt(t, d.end())
		d.exec("REVOKE SELECT ON " + on + " FROM revoked")
		if rest != "" {
			d.exec(rest)
		}
		r.kill()
		start(t, c, m, "").mustFail("GRANT SELECT ON " + on + " TO `revoked`@`%`")
	}
	d.exec("GRANT SELECT ON "+on+" TO revoked", "INSERT INTO t SELECT MAX(id) + 1, 0 FROM t")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// Statements that are not in the binlog are detected when the server's schemas are compared with
// the data, at the end of the binlog. The table is read again.
func testSchemasOfTheServer(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v ENUM('a', 'b'))", "INSERT INTO t VALUES (1, 'a')")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.kill()
	// Data of an older version may have a table of the MEMORY engine, which goes on.
	d.exec("SET SESSION sql_log_bin=0", "ALTER TABLE t ENGINE=MEMORY", "SET SESSION sql_log_bin=1",
		"INSERT INTO t VALUES (2, 'b')")
	r = start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO t VALUES (3, 'b')", "CREATE TABLE another (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (4, 'a')")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("SET SESSION sql_log_bin=0", "ALTER TABLE t ENGINE=InnoDB, MODIFY v ENUM('b', 'a')",
		"SET SESSION sql_log_bin=1")
	r = start(t, c, m, "")
	waitFor(t, "the table is read again", func() bool {
		return len(r.pipeline.Stats().Jobs) > 0 || m.progress(t).Rebuilding != ""
	})
	r.mustEqual(d, &c, m, "an ALTER that was not logged")
	r.kill()
	d.exec("SET SESSION sql_log_bin=0", "DROP TABLE t", "SET SESSION sql_log_bin=1")
	start(t, c, m, "")
	waitFor(t, "the keys are removed", func() bool { return len(m.rows("t")) == 0 })
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
	key, piece := sink.StateKey("test"), "schema:"+d.name+".t"
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

	// A byte that was changed before there were checksums shows when the server's schema does. The
	// table is read again.
	m.set(t, resp.AppendCommand(nil, "HSET", key, piece, changed))
	m.set(t, resp.AppendCommand(nil, "HSET", sink.HiddenPrefix+":pipelines", "test", "v1"))
	d.exec("INSERT INTO t VALUES (3, 'apple')")
	c := d.config()
	r = start(t, c, m, "")
	waitFor(t, "the definition is the server's", func() bool {
		now, _ := m.Keys.HashFields(key)
		return now[piece] == fields[piece]
	})
	r.mustEqual(d, &c, m, "a corrupt definition")
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
	).mustStop("its engine BLACKHOLE does not store the rows")
}
