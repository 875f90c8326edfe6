package pipelines_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// cutQueries kills the connections of a user, except those that send the binlog.
func cutQueries(t *testing.T, admin *mysql.Conn, user string) {
	list, err := admin.Query(t.Context(), "SHOW PROCESSLIST")
	if err != nil {
		t.Error(err)
		return
	}
	for i := range list.Rows {
		if list.Text(i, "User") != user || strings.HasPrefix(list.Text(i, "Command"), "Binlog") {
			continue
		}
		var answer *mysql.ServerError
		err := admin.Exec(t.Context(), "KILL "+list.Text(i, "Id"))
		if err != nil && !errors.As(err, &answer) { // an answer: the connection has ended by itself
			t.Error(err)
		}
	}
}

// runUntilEqual starts runs one after the other until no job is left at the server's position, and
// compares the data with MySQL. It returns how many runs have failed.
func runUntilEqual(t *testing.T, d *database, c *file.Config, m *memory) (failed int) {
	t.Helper()
	end := d.end()
	r := start(t, *c, m, "")
	waitUpTo(t, 5*time.Minute, "every table is complete", func() bool {
		if r.over() {
			if errors.As(r.err, new(*pipelines.StopError)) {
				t.Fatalf("the pipeline has stopped: %v", r.err)
			}
			failed++
			r = start(t, *c, m, "")
		}
		at := m.progress(t)
		return at.Phase == sink.Streaming && at.Position.CompareFile(end) >= 0 &&
			at.Rebuilding == ""
	})
	r.mustEqual(d, c, m, "everything")
	if list := r.pipeline.Stats().Unmapped; len(list) > 0 {
		t.Errorf("tables are not mapped: %v", list)
	}
	r.kill()
	return failed
}

// Two hundred tables are created, filled, altered, renamed and dropped in one batch, and the
// pipeline's connections for queries are killed again and again. Every table that stays is
// followed from its first row.
func testNewTablesWhileCut(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE seed (id INT PRIMARY KEY, v INT)", "INSERT INTO seed VALUES (1, 1), (2, 2)",
		"DROP USER IF EXISTS cut", "CREATE USER cut",
		"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO cut",
	)
	c := d.config("user: rowfall", "user: cut")
	m := newMemory()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.kill()
	for i := range 200 {
		for _, sql := range newTable(i) {
			d.exec(strings.ReplaceAll(sql, "{n}", fmt.Sprint(i)))
		}
	}
	admin := d.dial()
	const unitsPerCut = 40
	units := 0
	m.After = func(*sink.Unit) error {
		if units++; units%unitsPerCut == 0 {
			cutQueries(t, admin, "cut")
		}
		return nil
	}
	failed := runUntilEqual(t, d, &c, m)
	t.Logf("%d units, %d runs were cut", units, failed)
	if failed == 0 {
		t.Error("no run was cut")
	}
}

// newTable returns what happens to the i-th new table.
func newTable(i int) []string {
	const (
		create = "CREATE TABLE n{n} (id INT PRIMARY KEY, v INT)"
		insert = "INSERT INTO n{n} (id, v) VALUES (1, {n}), (2, 2)"
		alter  = "ALTER TABLE n{n} ADD COLUMN w INT NOT NULL DEFAULT 7"
		more   = "INSERT INTO n{n} (id, v) VALUES (3, {n})"
	)
	switch i % 5 {
	case 0:
		return []string{create, insert, alter, more}
	case 1:
		return []string{create, insert, alter, "DROP TABLE n{n}"}
	case 2: // a name that wildcards do not match
		return []string{
			"CREATE TABLE _n{n}_new (id INT PRIMARY KEY, v INT)",
			"INSERT INTO _n{n}_new VALUES (1, {n})", "RENAME TABLE _n{n}_new TO n{n}", more,
		}
	case 3:
		return []string{"CREATE TABLE n{n} (PRIMARY KEY (id)) AS SELECT * FROM seed", more}
	}
	return []string{
		create, insert, "RENAME TABLE n{n} TO r{n}", "INSERT INTO r{n} VALUES (4, {n})",
	}
}
