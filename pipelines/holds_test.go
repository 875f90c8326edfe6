package pipelines_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
)

// held reports whether the pipeline shows a hold whose reason has every text.
func held(p *pipelines.Pipeline, texts ...string) bool {
	for _, h := range p.Stats().Held {
		all := !h.Since.IsZero()
		for _, text := range texts {
			all = all && strings.Contains(h.Reason, text)
		}
		if all {
			return true
		}
	}
	return false
}

// While a table whose definition must be read stays locked, its job waits and the stream continues.
// The wait is visible, and it can be ended.
func testLockedDefinition(t *testing.T, d *database) {
	defer pipelines.SetLockWait(time.Second)()
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "INSERT INTO u VALUES (1, 1)")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	if s := r.pipeline.Stats(); !s.Streaming || len(s.Held) > 0 {
		t.Errorf("an idle pipeline shows %+v", s)
	}
	locker := d.dial()
	for _, sql := range []string{
		"USE `" + d.name + "`", "CREATE TABLE `_t_gho` (id INT PRIMARY KEY, v INT, w INT)",
		"INSERT INTO `_t_gho` VALUES (1, 2, 3)", "RENAME TABLE t TO `_t_del`, `_t_gho` TO t",
		"LOCK TABLES t WRITE",
	} {
		if err := locker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	d.exec("INSERT INTO u VALUES (2, 2)")
	reason := "lock on " + d.name + ".t"
	waitFor(t, "the lock shows as a hold", func() bool { return held(r.pipeline, reason) })
	waitFor(t, "the stream continues", func() bool { return len(m.rows("u")) == 2 })
	if r.over() || r.pipeline.Stats().Retrying != "" {
		t.Errorf("the run ended while it waited for the lock: %v", r.err)
	}
	if got := m.rows("t"); got["1"] != "1" {
		t.Errorf("the old keys do not serve: %v", got)
	}
	// The wait ends with the run, and the next one continues the job.
	r.kill()
	r = start(t, c, m, "")
	waitFor(t, "the lock shows as a hold again", func() bool { return held(r.pipeline, reason) })
	if err := locker.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "a cut-over under a lock")
	waitFor(t, "no hold shows", func() bool { return len(r.pipeline.Stats().Held) == 0 })
}

// A table that is locked during its load delays only its own rows. (Where the position is not a
// set of executed GTIDs, already the start waits for the lock.)
func testLockedChunk(t *testing.T, d *database) {
	defer pipelines.SetLockWait(time.Second)()
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)")
	locker := d.dial()
	for _, sql := range []string{"USE `" + d.name + "`", "LOCK TABLES t WRITE"} {
		if err := locker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	m := newMemory()
	r := start(t, d.config(), m, "")
	waitFor(t, "the lock shows as a hold",
		func() bool { return held(r.pipeline, "lock on "+d.name+".t") })
	d.exec("INSERT INTO u VALUES (1, 1)")
	waitFor(t, "the stream goes on", func() bool { return len(m.rows("u")) == 1 })
	if err := locker.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if r.over() {
		t.Errorf("the run ended: %v", r.err)
	}
}

// A query connection that goes dead while the stream lives shows as a hold. Then the run fails,
// and the next run continues at the same position.
func testSilentQuery(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	link := newBlackHole(t, d.addr)
	c := d.config(link.through(d)...)
	c.Source.MySQL.Silence = 3 * time.Second
	m := newMemory()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())

	link.swallow("innodb_native_foreign_keys")
	// A statement on a mapped table makes the loop look for cascades.
	d.exec("ALTER TABLE t COMMENT 'x'", "INSERT INTO t VALUES (1, 1)")
	waitFor(
		t, "the silence shows as a hold",
		func() bool {
			return held(r.pipeline,
				"waiting for MySQL at "+link.listener.Addr().String())
		},
	)
	waitFor(t, "the run ends", r.over)
	if !errors.As(r.err, new(*mysql.SilentError)) {
		t.Errorf("ended with %v, want a SilentError", r.err)
	}
	if s := r.pipeline.Stats(); s.Streaming ||
		!strings.Contains(s.Retrying, "has sent nothing for 3s") {
		t.Errorf("after the run: streaming %v, retrying %q", s.Streaming, s.Retrying)
	}
	if n := link.count(); n != 1 {
		t.Errorf("%d connections went dead, want 1", n)
	}
	start(t, c, m, "")
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// A chunk whose connection goes dead is read again over another connection, while the stream
// continues.
func testSilentChunk(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	link := newBlackHole(t, d.addr)
	c := d.config(link.through(d)...)
	c.Source.MySQL.Silence = 3 * time.Second
	link.swallow("`t` AS r")
	m := newMemory()
	r := start(t, c, m, "")
	waitFor(t, "the silence shows as a hold",
		func() bool { return held(r.pipeline, "rows of "+d.name+".t") })
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("t"), d.rows("t"))
	if n := link.count(); n != 1 || r.over() {
		t.Errorf("%d connections went dead, want 1; the run is over: %v, %v", n, r.over(), r.err)
	}
}

// On a MySQL without GTID, a job waits for the row locks of a prepared XA transaction. The reason
// says how to find the transaction, because it has no session.
func TestHeldByPreparedXA(t *testing.T) {
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{
		Args: []string{"--innodb-lock-wait-timeout=1"},
	})
	d := newDatabase(t, db)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	d.prepareXA("x", "UPDATE t SET v = 2 WHERE id = 1")
	m := newMemory()
	r := start(t, d.config(), m, "")
	waitFor(t, "the lock shows as a hold", func() bool {
		return held(r.pipeline, "waiting for a lock on "+d.name+".t (a metadata lock or row "+
			"locks, which a session holds, or a prepared transaction that XA RECOVER lists)")
	})
	d.exec("XA COMMIT 'x'")
	d.mustEndXA(r, m)
}
