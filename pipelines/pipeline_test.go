package pipelines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/replication/resp"
	"rowfall/sink"
)

var errCrash = errors.New("crash")

type part struct {
	name string
	run  func(t *testing.T, d *database)
}

// TestPipeline shares one server of each kind. Each part has its own schema.
func TestPipeline(t *testing.T) {
	// What depends on how a server logs and counts.
	parts := []part{
		{"Split", testSplit},
		{"Followed", testFollowed},
		{"Rewind", testRewind},
		{"PositionOfDDL", testPositionOfDDL},
		{"NoKey", testNoKey},
		{"NotFollowed", testNotFollowed},
		{"Revoked", testRevoked},
		{"KilledWhileWaiting", testKilledWhileWaiting},
		{"SchemasOfTheServer", testSchemasOfTheServer},
		{"MetadataLock", testMetadataLock},
		{"TimeOfLoad", testTimeOfLoad},
	}
	t.Run("MariaDB", func(t *testing.T) {
		runParts(
			t, servers.MariaDB, append(slices.Clone(parts), part{"Statements", testMariaStatements},
				part{"Cascades", testCascades}),
		)
	})
	t.Run("MySQL", func(t *testing.T) {
		runParts(t, servers.MySQL, append(
			parts,
			part{"Refused", testRefused},
			part{"CorruptState", testCorruptState},
			part{"Blackhole", testBlackhole},
			part{"CreateOfKnown", testCreateOfKnown},
			part{"Cascades", testCascadesLogged},
			part{"LostWhileBeginning", testLostWhileBeginning},
			part{"Misspelt", testMisspelt},
			part{"BadRewind", testBadRewind},
			part{"OtherData", testOtherData},
			part{"Quiet", testQuiet},
			part{"CloseWhileReading", testCloseWhileReading},
			part{"LargeRows", testLargeRows},
			part{"ManyDirtyKeys", testManyDirtyKeys},
			part{"Unmapped", testUnmapped},
			part{"PassedOver", testPassedOver},
			part{"DottedDatabase", testDottedDatabase},
			part{"OlderState", testOlderState},
			part{"EveryFault", testEveryFault},
			part{"SlowTransaction", testSlowTransaction},
			part{"LockedChunk", testLockedChunk},
			part{"SilentQuery", testSilentQuery},
			part{"SilentChunk", testSilentChunk},
			part{"DoubleKey", testDoubleKey},
		))
	})
}

func runParts(t *testing.T, kind servers.Kind, parts []part) {
	db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(t, newDatabase(t, db)) })
	}
}

// A transaction that is larger than a unit is split. Wherever the process ends between the parts,
// each row is applied exactly once.
func testSplit(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1000, 0)")
	c := d.config("max_atomic_rows: 10000", "max_atomic_rows: 10")
	const rows = 35
	for crash := range 10 {
		for _, applied := range []bool{false, true} {
			d.exec("DELETE FROM t WHERE id < 1000")
			m := newMemory()
			r := start(t, c, m, "")
			m.waitAt(t, d.end())
			r.kill()

			begin, calls := len(m.Units(0)), 0
			hook := func(*sink.Unit) error {
				if calls++; calls == crash+1 {
					return errCrash
				}
				return nil
			}
			if applied {
				m.After = hook
			} else {
				m.Before = hook
			}
			insertRows(d, rows)
			end := d.end()
			for range 3 { // it may crash again at a later instant
				r = start(t, c, m, "")
				waitFor(t, "all is applied or it crashes", func() bool {
					at := m.progress(t)
					return r.over() || at.Position.GTID.Contains(end.GTID)
				})
				r.kill()
				m.Before, m.After = nil, nil
			}
			mustBeEqual(t, m.rows("t"), d.rows("t"))
			var all strings.Builder
			parts := 0
			for _, u := range m.Units(begin) {
				all.WriteString(u.Commands)
				if u.Progress.Partial > 0 {
					parts++
				}
			}
			for id := 1; id <= rows; id++ {
				if n := strings.Count(all.String(), fmt.Sprintf("\r\nt:%d\r\n", id)); n != 1 {
					t.Errorf("crash %d (applied: %v): row %d was written %d times", crash, applied,
						id, n)
				}
			}
			if parts != 3 {
				t.Errorf("%d parts before the last, want 3", parts)
			}
			if p := m.progress(t); p.Partial != 0 || p.Row != 0 {
				t.Errorf("the position still says partial %d, row %d", p.Partial, p.Row)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// insertRows inserts rows 1 to n in one transaction of several statements.
func insertRows(d *database, n int) {
	d.t.Helper()
	d.exec("BEGIN")
	for id := 1; id <= n; id++ {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id*id))
	}
	d.exec("COMMIT")
}

// Statements that change rows without logging them, or a mapped table's columns, stop the
// pipeline. A restart stops again.
func testRefused(t *testing.T, d *database) {
	d.exec("CREATE DATABASE refused_other",
		"CREATE TABLE refused_other.brought (id INT PRIMARY KEY, v INT)",
		"INSERT INTO refused_other.brought VALUES (1, 1)")
	for _, test := range []struct{ sql, want string }{
		{"TRUNCATE TABLE t", "a TRUNCATE of mapped table"},
		{"DROP TABLE t", "a DROP TABLE of mapped table"},
		{"RENAME TABLE t TO u", "a RENAME of mapped table"},
		{"ALTER TABLE t ADD COLUMN w INT", "an ALTER that may change rows or columns of mapped table"},
		{"ALTER TABLE t DROP COLUMN v, ADD COLUMN v INT", "an ALTER that may change rows or columns of mapped table"},
		{"ALTER TABLE t TRUNCATE PARTITION p0", "ALTER that removes or exchanges rows of mapped table"},
		{"RENAME TABLE refused_other.brought TO brought", "brings a table with its rows into the mapping"},
	} {
		d.exec("DROP TABLE IF EXISTS t, u",
			"CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 1",
			"INSERT INTO t VALUES (1, 1)")
		if strings.Contains(test.sql, "PARTITION") {
			d.exec(
				"DROP TABLE t",
				"CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN MAXVALUE)",
				"INSERT INTO t VALUES (1, 1)",
			)
		}
		m := newMemory()
		r := start(t, d.config(), m, "")
		before := d.end()
		m.waitAt(t, before)
		// Rows that come along with the statement must not hide it.
		d.exec("INSERT INTO t VALUES (2, 2)", "INSERT INTO t VALUES (3, 3)")
		before = d.end()
		d.exec(test.sql)
		r.mustStop(test.want, "build the data again with --from snapshot", before.String())
		start(t, d.config(), m, "").mustStop(test.want)
		if p := m.progress(t); !before.GTID.Contains(p.Position.GTID) {
			t.Errorf("%s: the position %s is behind the statement, which came after %s", test.sql,
				p.Position, before)
		}
		if got := m.rows("t"); got["1"] != "1" {
			t.Errorf("%s: the data lost rows: %v", test.sql, got)
		}
	}
	d.exec("DROP TABLE brought")

	// Narrowed and widened again while nobody was looking: the columns compare
	// equal, the rows do not.
	d.exec("DROP TABLE IF EXISTS t, u", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))",
		"INSERT INTO t VALUES (1, '1000')")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("SET SESSION sql_mode = ''", "ALTER TABLE t MODIFY v VARCHAR(2)",
		"ALTER TABLE t MODIFY v VARCHAR(9)")
	start(t, d.config(), m, "").mustStop("an ALTER that may change rows or columns of mapped table")

	// What the binlog does not tell as rows is the same however often it is read.
	d.exec("DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m = newMemory()
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("SET SESSION binlog_format = 'STATEMENT'", "INSERT INTO t VALUES (1, 1)",
		"SET SESSION binlog_format = 'ROW'")
	r.mustStop("logged as a statement instead of rows")
}

// Statements that change nothing mapped pass, and new tables are mapped.
func testFollowed(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	c := d.config("backfill: {chunk_rows: 1000}", "backfill: {chunk_rows: 1}")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec(
		"ALTER TABLE t ADD INDEX (v)", "CREATE INDEX w ON t (v, id)", "DROP INDEX w ON t",
		"ANALYZE TABLE t", "OPTIMIZE TABLE t", "CREATE TABLE n1 (id INT PRIMARY KEY, v INT)",
		"INSERT INTO n1 VALUES (1, 5), (2, 6)", "UPDATE n1 SET v = NULL WHERE id = 2",
		"CREATE TABLE n2 SELECT id, v FROM n1 WHERE FALSE", // it has no key
		"INSERT INTO n2 VALUES (9, 9)",
		"CREATE TABLE n3 (id INT PRIMARY KEY, v INT) SELECT id, v FROM n1",
		"CREATE TABLE IF NOT EXISTS n1 (other INT)",
		"CREATE TABLE n4 LIKE t",
		"INSERT INTO n4 VALUES (4, 4)",
		"INSERT INTO t VALUES (2, 2)",
	)
	m.waitAt(t, d.end())
	for range 2 {
		for _, table := range []string{"t", "n1", "n3", "n4"} {
			mustBeEqual(t, m.rows(table), d.rows(table))
		}
		if got := m.rows("n2"); len(got) > 0 {
			t.Errorf("a table without a key was mapped: %v", got)
		}
		// Again, now from what the data says of the tables.
		r.kill()
		r = start(t, c, m, "")
		d.exec("INSERT INTO n2 VALUES (10, 10)", "UPDATE n1 SET v = 7",
			"REPLACE INTO n4 VALUES (5, 5)")
		m.waitAt(t, d.end())
	}
	// A table that came and went while nobody was looking holds nothing up.
	r.kill()
	d.exec("CREATE TABLE gone (id INT PRIMARY KEY, v INT)", "INSERT INTO gone VALUES (1, 1)",
		"DROP TABLE gone", "DELETE FROM n4 WHERE id = 5")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("n4"), d.rows("n4"))
}

// A move back applies all transactions again, with rows in full, and ends at the same data; the
// phase is replaying meanwhile. After a move forward, rows are written in full.
func testRewind(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	c := d.config()
	m := newMemory()
	r := start(t, c, m, "")
	early := d.end()
	m.waitAt(t, early)
	d.exec("INSERT INTO t VALUES (2, 2)", "UPDATE t SET v = NULL WHERE id = 1",
		"UPDATE t SET id = 3 WHERE id = 2", "INSERT INTO t VALUES (2, 4)",
		"DELETE FROM t WHERE id = 3")
	middle := d.end()
	d.exec("INSERT INTO t VALUES (7, 7)", "UPDATE t SET v = 10 WHERE id = 1")
	m.waitAt(t, d.end())
	r.kill()
	for _, from := range []string{"gtid:" + early.GTID.String(), fmt.Sprintf("%s:%d", early.File, early.Offset)} {
		n := len(m.Units(0))
		// It is killed on the way, and started again, and moved again.
		m.Before = func(u *sink.Unit) error {
			if u.Commands.Count > 0 {
				return errCrash
			}
			return nil
		}
		r = start(t, c, m, from)
		waitFor(t, "it crashes", r.over)
		m.Before = nil
		if p := m.progress(t); p.Phase != sink.Replaying || !p.Position.GTID.Equal(early.GTID) {
			t.Errorf("--from %s: the data says %v at %s", from, p.Phase, p.Position)
		}
		r = start(t, c, m, "gtid:"+middle.GTID.String())
		m.waitAt(t, d.end())
		r.kill()
		r = start(t, c, m, from)
		m.waitAt(t, d.end())
		r.kill()
		mustBeEqual(t, m.rows("t"), d.rows("t"))
		replayed := false
		for _, u := range m.Units(n) {
			replayed = replayed || u.Progress.Phase == sink.Replaying
		}
		if !replayed {
			t.Errorf("--from %s: nothing was replayed", from)
		}
	}
	// To where it is: nothing changes.
	n := len(m.Units(0))
	r = start(t, c, m, "gtid:"+m.progress(t).Position.GTID.String())
	waitFor(t, "the position is written", func() bool { return len(m.Units(n)) > 0 })
	r.kill()
	if p := m.progress(t); p.Phase != sink.Streaming {
		t.Errorf("moved to where it is, the data is %v", p.Phase)
	}
	// Forth: the rows between are not in the data, a later change writes all.
	d.exec("INSERT INTO t VALUES (8, 8)", "INSERT INTO t VALUES (9, 9)")
	start(t, c, m, "now")
	m.waitAt(t, d.end())
	if got := m.rows("t"); got["8"] != "" {
		t.Errorf("rows that were passed over are there: %v", got)
	}
	d.exec("ALTER TABLE t COMMENT 'x'", "UPDATE t SET v = 80 WHERE id = 8")
	m.waitAt(t, d.end())
	if fields, _ := m.Keys.HashFields("t:8"); fields["id"] != "8" || fields["v"] != "80" {
		t.Errorf("after a skip a row is written as a change only: %v", fields)
	}
}

// A position that the server cannot serve does not change the data.
func testBadRewind(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	was := m.progress(t)
	for from, want := range map[string]string{
		"binlog.999999:4": "1236",
		"gtid:00000000-0000-0000-0000-000000000001:1-5": "has not executed",
	} {
		start(t, d.config(), m, from).mustStop(want)
		if p := m.progress(t); p.Position.String() != was.Position.String() ||
			p.Phase != sink.Streaming {
			t.Errorf("--from %s moved the data to %v at %s", from, p.Phase, p.Position)
		}
	}
	start(t, d.config(), m, "yesterday").mustStop("want snapshot, now, gtid:SET or FILE:OFFSET")
	d.exec("INSERT INTO t VALUES (2, 2)")
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// Data that this pipeline's file did not build are never changed.
func testOtherData(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	m.set(t, resp.AppendCommand(nil, "SET", "t:1", "mine"))
	start(t, d.config(), m,
		"").mustStop("none of them says where pipeline test stands", "--from snapshot")
	r := start(t, d.config(), m, "snapshot")
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))

	units := len(m.Units(0))
	other := d.config(".*\": {}", ".*\": {columns: {rename: {v: value}}}")
	start(
		t, other, m, "",
	).mustStop("test.yaml:6: tables.\""+d.name+".*\".columns.rename.v: the data was built with another mapping than this file's, which does not have this", "--from snapshot")
	m.set(
		t, resp.AppendCommand(nil, "HSET", sink.PositionKey("test"), "server", "another", "partial",
			"1", "row", "10"),
	)
	start(t, d.config(), m, "").mustStop("within a large transaction of server another")
	m.set(t, resp.AppendCommand(nil, "HSET", sink.PositionKey("test"), "gtid", ""))
	start(t, d.config(), m,
		"").mustStop("of server another", "without GTIDs the two binlogs cannot be compared")
	if n := len(m.Units(units)); n > 0 {
		t.Errorf("%d units were written into data that is not the pipeline's", n)
	}
}

// A transaction without mapped rows moves the position soon, even if nothing follows.
func testQuiet(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE no_key (v INT)",
		"INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("INSERT INTO t VALUES (2, 2)", "INSERT INTO no_key VALUES (1)")
	m.waitAt(t, d.end())
}

// A run that ends while rows are read ends at once, whatever the workers do.
func testCloseWhileReading(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40))")
	for i := range 20 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'x')", i))
	}
	lock := d.dial()
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 3")
	for range 4 {
		locked := false
		m.After = func(*sink.Unit) error {
			if locked {
				return nil
			}
			locked = true
			return lock.Exec(t.Context(), "LOCK TABLES `"+d.name+"`.t WRITE")
		}
		r := start(t, c, m, "")
		d.waitForLock()
		r.kill()
		if err := lock.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
	}
	m.After = nil
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A chunk whose rows are larger than expected is cut short.
func testLargeRows(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)")
	for i := range 50 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('%d', %d))", i, i%10, 10000*(i%20)))
	}
	defer pipelines.SetChunkBytes(100_000)()
	m := newMemory()
	start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// If a statement changes more rows than fit into the dirty keys, the chunk is read again, and each
// row is counted once.
func testManyDirtyKeys(t *testing.T, d *database) {
	const rows = 40
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, rows)
	defer pipelines.SetDirtyKeyBytes(1000)()
	lock := d.dial()
	if err := lock.Exec(t.Context(), "USE `"+d.name+"`"); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	locked := false
	m.After = func(*sink.Unit) error {
		if locked {
			return nil
		}
		locked = true
		return lock.Exec(t.Context(), "LOCK TABLES t WRITE")
	}
	r := start(t, d.config(), m, "")
	d.waitForLock()
	if err := lock.Exec(t.Context(), "UPDATE t SET v = -v"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the update is applied", func() bool { return len(m.rows("t")) == rows })
	if err := lock.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if n := r.pipeline.Stats().Loaded; n != rows {
		t.Errorf("%d rows were loaded, want each counted once, %d", n, rows)
	}
}

// A table without a key is read in the order of its key_columns, even if its collation equates
// different values.
func testNoKey(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE t (id VARCHAR(10) NOT NULL COLLATE utf8mb4_general_ci, v INT)",
		"INSERT INTO t VALUES ('a', 1), ('A', 2), ('ä', 3), ('b', 4), ('B', 5), ('', 6), ('c', NULL)",
	)
	keyed := []string{"chunk_rows: 1000", "chunk_rows: 2", `.*": {}`, `.t": {key_columns: [id]}`}
	m := newMemory()
	start(t, d.config(keyed...), m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("UPDATE t SET v = v + 10 WHERE BINARY id = 'A'", "DELETE FROM t WHERE v = 5")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	d.exec("CREATE TABLE n (id INT, v INT)")
	keyed[3] = `.n": {key_columns: [id]}`
	start(t, d.config(keyed...), newMemory(),
		"").mustStop("test.yaml:6: tables.", d.name+".n.id", "may be NULL", "declare it NOT NULL")
}

// Unmapped tables are still known after a restart.
func testUnmapped(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE no_key (v INT)")
	m := newMemory()
	for i := range 3 {
		r := start(t, d.config(), m, "")
		d.exec(fmt.Sprintf("INSERT INTO no_key VALUES (%d)", i),
			fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", i))
		m.waitAt(t, d.end())
		r.kill()
	}
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A table that was unmapped for want of a key has rows. If it gets a key, a CREATE TABLE IF NOT
// EXISTS does not make it a new table. A DROP and CREATE does.
func testCreateOfKnown(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE a (id INT NOT NULL, v INT)",
		"CREATE TABLE b (id INT NOT NULL, v INT)", "INSERT INTO a VALUES (1, 1)",
		"INSERT INTO b VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("DROP TABLE a", "CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY, v INT)",
		"INSERT INTO a VALUES (2, 2)")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("a"), d.rows("a"))
	d.exec("ALTER TABLE b ADD PRIMARY KEY (id)",
		"CREATE TABLE IF NOT EXISTS b (id INT PRIMARY KEY, v INT)")
	r.mustStop("brings a table with its rows into the mapping", d.name+".b")
}

// MariaDB logs the settings before a statement (SET STATEMENT). Its ALTER IGNORE removes rows
// without logging them.
func testMariaStatements(t *testing.T, d *database) {
	for _, test := range []struct{ sql, want string }{
		{"SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE TABLE t", "a TRUNCATE of mapped table"},
		{"ALTER IGNORE TABLE t ADD UNIQUE (v)", "an ALTER that may change rows or columns of mapped table"},
	} {
		d.exec("DROP TABLE IF EXISTS t", "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES (1, 1), (2, 1)")
		m := newMemory()
		r := start(t, d.config(), m, "")
		m.waitAt(t, d.end())
		d.exec(test.sql)
		r.mustStop(test.want)
	}
}

// MariaDB does not log rows that a cascade changes. A mapped child table stops the pipeline,
// unless its entry says `cascades: ignore`.
func testCascades(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, CONSTRAINT `u``p` FOREIGN KEY (v) REFERENCES p (id) ON DELETE SET NULL)",
		"CREATE TABLE plain (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id))",
		"INSERT INTO p VALUES (1, 1)",
		"CREATE USER IF NOT EXISTS reader",
		"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader",
	)
	m := newMemory()
	// A user who may do no more than read is told of foreign keys too, also where the server
	// leaves out the quotes, and whatever the key is called.
	d.exec("SET GLOBAL sql_quote_show_create=OFF")
	defer d.exec("SET GLOBAL sql_quote_show_create=ON")
	start(
		t, d.config("user: root", "user: reader"), m, "",
	).mustStop("the foreign key u`p of mapped table "+d.name+".c is ON DELETE SET NULL", "drop the cascade", "cascades: ignore")
	if n := len(m.Units(0)); n > 0 {
		t.Errorf("%d units were written before the stop", n)
	}
	ignoring := d.config(`.*": {}`, `.*": {cascades: ignore}`)
	r := start(t, ignoring, m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("ALTER TABLE c DROP FOREIGN KEY `u``p`")
	// What is ignored is no part of what the data was built with.
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("ALTER TABLE c ADD CONSTRAINT again FOREIGN KEY (v) REFERENCES p (id) ON UPDATE CASCADE")
	r.mustStop("the foreign key again of mapped table", "ON UPDATE CASCADE")
}

// A misspelled name would leave data unprotected. A missing column stops the pipeline; a missing
// table is retried. Correct names pass.
func testMisspelt(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT NOT NULL, v INT NOT NULL, secret INT, PRIMARY KEY (id))",
		"INSERT INTO t VALUES (1, 1, 5)")
	m := newMemory()
	start(t, d.config(`.*": {}`, `.*": {columns: {exclude: [secrt]}}`), m, "").
		mustStop("test.yaml:6: tables.", `.columns.exclude: no table that matches`, `has a column "secrt"; did you mean "secret"?`)
	c := d.config(
		`.*": {}`,
		`.*": {columns: {exclude: [secret]}}`+"\n  "+d.name+`.tt: {key_columns: [id], columns: {include: [id, v], add: {double: v * 2}}}`,
	)
	r := start(t, c, m, "")
	waitFor(t, "it fails", r.over)
	if errors.As(r.err, new(*pipelines.StopError)) ||
		!strings.Contains(r.err.Error(), `no table `+d.name+`.tt; did you mean "`+d.name+`.t"?`) {
		t.Errorf("ended with %v", r.err)
	}
	d.exec("CREATE TABLE tt LIKE t", "INSERT INTO tt VALUES (1, 4, 6)")
	start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("UPDATE tt SET v = 5")
	m.waitAt(t, d.end())
	for key, want := range map[string]map[string]string{"t:1": {"id": "1", "v": "1"}, "tt:1": {"id": "1", "v": "5", "double": "10"}} {
		if got, _ := m.Keys.HashFields(key); !maps.Equal(got, want) {
			t.Errorf("%s holds %v, want %v", key, got, want)
		}
	}
}

// This MySQL logs the rows that cascades change.
func testCascadesLogged(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id) ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1, 1), (2, 2)", "INSERT INTO c VALUES (10, 1), (20, 2)",
	)
	m := newMemory()
	r := start(t, d.config(), m, "")
	if r, err := d.conn.Query(t.Context(), "SHOW VARIABLES LIKE 'innodb_native_foreign_keys'"); err != nil {
		t.Fatal(err)
	} else if len(r.Rows) == 0 || string(r.Rows[0][1]) == "ON" {
		servertest.SkipOrFail(t, errors.New("this MySQL does not log what cascades change"))
	}
	m.waitAt(t, d.end())
	d.exec("DELETE FROM p WHERE id = 1")
	m.waitAt(t, d.end())
	if r.over() {
		t.Errorf("ended with %v", r.err)
	}
	mustBeEqual(t, m.rows("c"), d.rows("c"))
}

// A connection that is lost while the position is compared with the server's proves nothing: a
// retry may succeed.
func testLostWhileBeginning(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	defer done.Wait()
	defer l.Close()
	done.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", d.addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			done.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
			done.Go(func() {
				defer out.Close()
				packet := make([]byte, 1<<16)
				for {
					n, err := in.Read(packet)
					if err != nil || bytes.Contains(packet[:n], []byte("WAIT_FOR_EXECUTED")) {
						return
					}
					if _, err := out.Write(packet[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	m := newMemory()
	from := "gtid:" + d.end().GTID.String()
	c := d.config(fmt.Sprintf("addresses: [%q]", d.addr),
		fmt.Sprintf("addresses: [%q], tls: {mode: disabled}", l.Addr()))
	r := start(t, c, m, from)
	waitFor(t, "it fails", r.over)
	if errors.As(r.err, new(*pipelines.StopError)) ||
		!strings.Contains(r.err.Error(), "compare the position") {
		t.Errorf("ended with %v, want what a retry may mend", r.err)
	}
}

// A unit that is flushed because a statement follows does not include that statement.
func testPositionOfDDL(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	r.kill()
	var before binlog.Position
	for i := range 50 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", i, i))
	}
	before = d.end()
	d.exec("TRUNCATE TABLE t")
	start(t, d.config(), m, "").mustStop("a TRUNCATE of mapped table", before.String())
	if p := m.progress(t); !p.Position.GTID.Equal(before.GTID) {
		t.Errorf("the data is at %s, want %s", p.Position, before)
	}
	if n := len(m.rows("t")); n != 50 {
		t.Errorf("%d rows came before the TRUNCATE, want 50", n)
	}
}
