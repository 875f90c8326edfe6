package pipelines_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/sink"
)

// testRanges loads large tables in ranges while others write, and kills the run in the middle. The
// data equal the rows nevertheless.
func testRanges(t *testing.T, d *database) {
	const rows = 20_000
	const numbers = "WITH RECURSIVE r (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n < 199)"
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (g SMALLINT, id VARCHAR(9), v INT, PRIMARY KEY (g, id))",
		"INSERT INTO t "+numbers+" SELECT a.n * 100 + b.n + 1, 0 FROM r a, r b WHERE b.n < 100",
		"INSERT INTO c "+numbers+" SELECT a.n - 100, b.n, 0 FROM r a, r b WHERE b.n < 40",
		"ANALYZE TABLE t, c")
	var stopping atomic.Bool
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stopping.Store(true)
	conn := d.dial()
	writers.Go(func() { writeAnywhere(t, &stopping, conn, d.name, rows) })

	c := d.config("chunk_rows: 1000", "chunk_rows: 100, parallel: 4")
	m := newMemory()
	// halves counts the loaded rows with ids up to 9,999, and with larger ones.
	halves := func() (first, second int) {
		for id := range m.rows("t") {
			if len(id) < 5 {
				first++
			} else {
				second++
			}
		}
		return first, second
	}
	for kill := range 2 {
		units := 0
		m.Before = func(*sink.Unit) error {
			if units++; units < 10 || units%5 > 0 { // a unit has at most 500 rows of a chunk
				return nil
			}
			if first, second := halves(); first < 500 || second < 500 {
				return nil
			}
			return errCrash
		}
		r := start(t, c, m, "")
		waitFor(t, "the run is killed", r.over)
		if !errors.Is(r.err, errCrash) {
			t.Fatalf("the run has ended with %v", r.err)
		}
		first, second := halves()
		t.Logf("run %d: %d rows of the first half, %d of the second", kill+1, first, second)
		if first < 500 || second < 500 || first+second > rows-500 {
			t.Error("the run was not killed in the middle of two ranges")
		}
	}
	m.Before = nil
	r := start(t, c, m, "")
	waitFor(t, "the tables are loaded", func() bool {
		if r.over() {
			t.Fatalf("the run has ended: %v", r.err)
		}
		return m.progress(t).Phase == sink.Streaming
	})
	stopping.Store(true)
	writers.Wait()
	r.mustEqual(d, &c, m, "a load in ranges")
}

// writeAnywhere inserts, updates, moves and deletes rows of the tables of testRanges.
func writeAnywhere(
	t *testing.T, stopping *atomic.Bool, conn *mysql.Conn, database string, rows int,
) {
	rng := rand.New(rand.NewPCG(7, 7))
	if err := conn.Exec(t.Context(), "USE `"+database+"`"); err != nil {
		t.Error(err)
		return
	}
	for n := 1; !stopping.Load(); n++ {
		id, other, g := rng.IntN(rows), rng.IntN(rows+100), rng.IntN(200)-100
		var sql string
		switch rng.IntN(6) {
		case 0:
			sql = fmt.Sprintf("UPDATE IGNORE t SET id = %d, v = %d WHERE id = %d", other, n, id)
		case 1:
			sql = fmt.Sprintf("DELETE FROM t WHERE id = %d", id)
		case 2:
			sql = fmt.Sprintf("REPLACE INTO t VALUES (%d, %d)", other, n)
		case 3:
			sql = fmt.Sprintf("UPDATE t SET v = %d WHERE id BETWEEN %d AND %d", n, id, id+50)
		case 4:
			sql = fmt.Sprintf("UPDATE c SET v = %d WHERE g = %d", n, g)
		case 5:
			sql = fmt.Sprintf("UPDATE IGNORE c SET g = %d WHERE g = %d AND id < '2'",
				rng.IntN(200)-100, g)
		}
		const deadlock = 1213 // with the locks of a SELECT; the server has undone the statement
		if err := conn.Exec(t.Context(), sql); err != nil && !mysql.IsCode(err, deadlock) {
			t.Errorf("%s: %v", sql, err)
			return
		}
	}
}
