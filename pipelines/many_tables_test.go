package pipelines_test

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/pipelines/file"
	"rowfall/sink"
)

// ddlSession executes statements in a session of its own, at a steady rate.
type ddlSession struct {
	count atomic.Int64 // of executed statements
	quit  chan struct{}
	done  chan struct{}
}

// startDDL starts a session that executes what statement returns for 0, 1, 2 and so on. The session
// ends with the test.
func (d *database) startDDL(perSecond int, statement func(n int) string) *ddlSession {
	d.t.Helper()
	s := &ddlSession{quit: make(chan struct{}), done: make(chan struct{})}
	conn := d.dial()
	must(d.t, conn.Exec(d.t.Context(), "USE `"+d.name+"`"))
	go func() {
		defer close(s.done)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			sql := statement(n)
			if err := conn.Exec(d.t.Context(), sql); err != nil {
				if d.t.Context().Err() == nil {
					d.t.Errorf("%s: %v", sql, err)
				}
				return
			}
			s.count.Add(1)
			select {
			case <-s.quit:
				return
			case <-tick.C:
			}
		}
	}()
	d.t.Cleanup(func() { <-s.done })
	return s
}

func (s *ddlSession) stop() { close(s.quit); <-s.done }

// waitMore waits until the session has executed n more statements. The run must go on.
func (s *ddlSession) waitMore(r *running, n int64) {
	r.t.Helper()
	until := s.count.Load() + n
	r.waitRunning(fmt.Sprintf("%d more statements are executed", n), func() bool {
		return s.count.Load() >= until
	})
}

// waitRunning waits until done returns true. The run must not end before that.
func (r *running) waitRunning(what string, done func() bool) {
	r.t.Helper()
	waitFor(r.t, what, func() bool {
		if r.over() {
			r.t.Fatalf("until %s: the run has ended: %v", what, r.err)
		}
		return done()
	})
}

// unmappedDDL returns statements about tables that no pattern of manyTables matches.
func unmappedDDL(n int) string {
	i := n / 5
	return fmt.Sprintf([]string{
		"CREATE TABLE u%d (id INT PRIMARY KEY, v INT)",
		"ALTER TABLE u%d ADD COLUMN w INT NOT NULL DEFAULT 7",
		"RENAME TABLE u%d TO v%[1]d",
		"TRUNCATE TABLE v%d",
		"DROP TABLE v%d",
	}[n%5], i)
}

// mappedDDL returns statements about the tables t0 to t(tables-1), and new tables.
func mappedDDL(tables int) func(n int) string {
	return func(n int) string {
		i := n / 7
		switch n % 7 {
		case 0:
			return fmt.Sprintf("CREATE TABLE tn%d (id INT PRIMARY KEY, v INT)", i)
		case 1:
			return fmt.Sprintf("INSERT INTO tn%d VALUES (1, 1), (2, 2)", i)
		case 2:
			return fmt.Sprintf("ALTER TABLE t%d ADD COLUMN w%d INT NOT NULL DEFAULT 7", i%tables, i)
		case 3:
			return fmt.Sprintf("RENAME TABLE tn%d TO tr%[1]d", i)
		case 4:
			return fmt.Sprintf("ALTER TABLE t%d MODIFY v VARCHAR(20)", (i+1)%tables)
		case 5:
			return fmt.Sprintf("TRUNCATE TABLE t%d", (i*7+3)%tables)
		}
		return fmt.Sprintf("DROP TABLE tr%d", i)
	}
}

// reads returns how many queries that read rows or definitions the server has executed.
func (d *database) reads() (n int) {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), "SHOW GLOBAL STATUS WHERE Variable_name IN "+
		"('Com_select', 'Com_show_create_table', 'Com_show_tables', 'Com_show_fields')")
	must(d.t, err)
	for i := range r.Rows {
		count, err := strconv.Atoi(r.Text(i, "Value"))
		must(d.t, err)
		n += count
	}
	return n
}

// Other sessions create, alter and drop tables all the time. If the tables are not mapped, a load
// of many tables ends nevertheless, and nothing is read from the server for a statement. If they
// are mapped, the pipeline follows. It never stops.
func testManyTables(t *testing.T, d *database) {
	tables := 200
	if os.Getenv("ROWFALL_LONG") != "" {
		tables = 2000
	}
	d.exec("CREATE TABLE t0 (id INT PRIMARY KEY, v INT)", "INSERT INTO t0 VALUES (1, 1), (2, 2)")
	for i := 1; i < tables; i++ {
		d.exec(fmt.Sprintf("CREATE TABLE t%d (PRIMARY KEY (id)) AS SELECT * FROM t0", i))
	}
	c := d.config(`.*": {}`, `.t*": {}`, "chunk_rows: 1000", "chunk_rows: 1000, parallel: 2")
	unmapped := d.startDDL(50, unmappedDDL)
	m, r := d.loadManyTables(&c)
	unmapped.waitMore(r, 20)
	before := d.reads()
	const statements = 100
	unmapped.waitMore(r, statements)
	if n := d.reads() - before; n > statements/5 {
		t.Errorf("%d queries were executed during %d statements about other tables", n, statements)
	}
	r.mustEqual(d, &c, m, "statements about other tables")

	mapped := d.startDDL(5, mappedDDL(tables))
	mapped.waitMore(r, 20)
	r.kill()
	m, r = d.loadManyTables(&c)
	mapped.waitMore(r, 20)
	mapped.stop()
	unmapped.stop()
	r.mustEqual(d, &c, m, "statements about mapped tables")
	if list := r.pipeline.Stats().Unmapped; len(list) > 0 {
		t.Errorf("tables are not mapped: %v", list)
	}
	r.kill()
	d.exec("DROP DATABASE `" + d.name + "`")
}

// loadManyTables starts a pipeline without data, and waits for the end of its load.
func (d *database) loadManyTables(c *file.Config) (*memory, *running) {
	d.t.Helper()
	m := newMemory()
	r := start(d.t, *c, m, "")
	began := time.Now()
	waitUpTo(d.t, 5*time.Minute, "the load ends", func() bool {
		if r.over() {
			d.t.Fatalf("during the load: the run has ended: %v", r.err)
		}
		return m.progress(d.t).Phase == sink.Streaming
	})
	d.t.Logf("the load took %v", time.Since(began))
	return m, r
}
