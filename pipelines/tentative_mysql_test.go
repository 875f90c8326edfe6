package pipelines_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// pastTable is the table of a start in the past, and pastAlter what changes it later, in a way that
// types and number of columns do not show.
const (
	pastTable = "CREATE TABLE t (id INT PRIMARY KEY, x INT, y INT, e ENUM('a','b') NOT NULL)"
	pastAlter = "ALTER TABLE t MODIFY x INT AFTER y, MODIFY e ENUM('z','a','b') NOT NULL"
)

// setMetadata sets what table maps contain, until the test ends.
func (d *database) setMetadata(value string) {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), "SELECT @@GLOBAL.binlog_row_metadata")
	must(d.t, err)
	d.t.Cleanup(func() {
		// The test's context has ended, and with it the connection's use.
		ctx := context.Background()
		c, err := mysql.Dial(ctx, mysql.Config{Addresses: []string{d.addr}, User: "root"})
		must(d.t, err)
		must(d.t, c.Exec(ctx, "SET GLOBAL binlog_row_metadata="+string(r.Rows[0][0])))
		must(d.t, c.Close())
	})
	d.exec("SET GLOBAL binlog_row_metadata=" + value)
}

// startInPast writes a table's rows before and after an ALTER, and returns the position before.
func startInPast(d *database) binlog.Position {
	d.exec(pastTable, "CREATE TABLE u (id INT PRIMARY KEY, v INT)")
	begin := d.end()
	d.exec("INSERT INTO t VALUES (1, 10, 20, 'a')", "INSERT INTO u VALUES (1, 1)", pastAlter,
		"INSERT INTO t (id, x, y, e) VALUES (2, 30, 40, 'b')")
	return begin
}

// mustHavePast checks the rows of startInPast, which were never wrong.
func mustHavePast(t *testing.T, d *database, m *memory) {
	t.Helper()
	m.waitAt(t, d.end())
	for key, want := range map[string]map[string]string{
		"t:1": {"id": "1", "x": "10", "y": "20", "e": "a"},
		"t:2": {"id": "2", "x": "30", "y": "40", "e": "b"},
	} {
		waitFor(t, key+" is as in MySQL", func() bool {
			got, _ := m.Keys.HashFields(key)
			return maps.Equal(got, want)
		})
	}
	for _, u := range m.Units(0) {
		if strings.Contains(u.Commands, "x\r\n$2\r\n20") {
			t.Errorf("a unit writes x=20: %q", u.Commands)
		}
	}
	mustBeEqual(t, m.rows("u"), d.rows("u"))
}

func (d *database) startAt(p binlog.Position) file.Config {
	return d.config("user: rowfall}", "user: rowfall, start: '"+p.String()+"'}")
}

// A run that begins before the recorded definitions takes the columns from full metadata. A table
// whose columns the binlog had once stays readable when the metadata become minimal.
func testPastMetadata(t *testing.T, d *database) {
	d.setMetadata("FULL")
	begin := startInPast(d)
	d.setMetadata("MINIMAL")
	d.exec("UPDATE u SET v = 5", "INSERT INTO u VALUES (2, 2)",
		"CREATE TABLE w (id INT PRIMARY KEY, v INT)", "INSERT INTO w VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.startAt(begin), m, "")
	mustHavePast(t, d, m)
	mustBeEqual(t, m.rows("w"), d.rows("w"))
	if faults := r.pipeline.Stats().Quarantined; len(faults) > 0 {
		t.Errorf("status shows %+v", faults)
	}
}

// Without full metadata, a table whose columns are not known goes into quarantine, and the reason
// names both remedies. --schema gives the columns.
func testPastSchema(t *testing.T, d *database) {
	d.setMetadata("MINIMAL")
	begin := startInPast(d)
	m := newMemory()
	r := start(t, d.startAt(begin), m, "")
	m.waitAt(t, d.end())
	waitFor(t, "both tables are in quarantine", func() bool {
		faults := r.pipeline.Stats().Quarantined
		return len(faults) == 2 && strings.Contains(faults[0].Reason, "--schema dump.sql") &&
			strings.Contains(faults[0].Reason, "binlog_row_metadata=FULL")
	})
	if len(m.rows("t"))+len(m.rows("u")) > 0 {
		t.Errorf("rows were read: %v %v", m.rows("t"), m.rows("u"))
	}
	r.kill()

	dump := fmt.Sprintf("USE `%s`;\n%s;\nCREATE TABLE u (id INT PRIMARY KEY, v INT);\n", d.name,
		pastTable)
	m = newMemory()
	r = &running{t: t, pipeline: pipelines.New(
		d.startAt(begin), m, "", zerolog.New(zerolog.NewTestWriter(t)),
	)}
	r.pipeline.UseSchema(dump)
	r = r.again()
	mustHavePast(t, d, m)
	// The data have their own definitions now.
	r.kill()
	r.pipeline.UseSchema(dump)
	r.again().mustStop("--schema belongs to a start in the past")
}

// --from now takes the definitions of now, if statements were missed. --from with a position before
// a table's definition was recorded does not read the table's rows with the later columns.
func testMissedStatements(t *testing.T, d *database) {
	d.setMetadata("MINIMAL")
	d.exec(pastTable, "CREATE TABLE u (id INT PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES (1, 10, 20, 'a')", "INSERT INTO u VALUES (1, 1)")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	begin := d.end()
	r.kill()
	d.exec("UPDATE t SET x = 11", "UPDATE u SET v = 2", pastAlter)
	m.After = func(*sink.Unit) error {
		if got, _ := m.Keys.HashFields("t:2"); got != nil && (got["x"] != "30" || got["e"] != "b") {
			return fmt.Errorf("t:2 is %v", got)
		}
		return nil
	}
	r = start(t, c, m, "now")
	waitFor(t, "the run streams", func() bool { return r.pipeline.Stats().Streaming })
	d.exec("INSERT INTO t (id, x, y, e) VALUES (2, 30, 40, 'b')", "UPDATE u SET v = 3")
	m.waitAt(t, d.end())
	waitFor(t, "the row is there", func() bool {
		got, _ := m.Keys.HashFields("t:2")
		return got["y"] == "40"
	})
	mustBeEqual(t, m.rows("u"), d.rows("u"))
	r.kill()
	r = startFrom(t, c, m, begin.String())
	m.waitAt(t, d.end())
	waitFor(t, "the altered table is in quarantine", func() bool {
		faults := r.pipeline.Stats().Quarantined
		return len(faults) == 1 && faults[0].Table == d.name+".t"
	})
	mustBeEqual(t, m.rows("u"), d.rows("u"))
}
