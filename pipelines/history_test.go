package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/sink"
)

// source is a server whose history a test changes.
type source struct {
	*database
	db  *servers.Database
	dir string
}

// TestHistory gives the GTIDs and offsets of a source's transactions to other transactions, in
// every way that users have done this. The pipeline must stop.
func TestHistory(t *testing.T) {
	for _, kind := range []struct {
		name string
		kind servers.Kind
		gtid bool
		runs []string
	}{
		{"MySQL", servers.MySQL, true, []string{
			"Reset", "ResetEarlier", "ResetStreaming", "ResetAfterLoad", "Restored", "Split",
			"Purged", "NoEvidence", "Status",
		}},
		{"MySQLWithoutGTID", servers.MySQL, false, []string{
			"Reset", "ResetStreaming", "ResetAfterLoad", "Restored", "Purged", "NoEvidence",
		}},
		{"MariaDB", servers.MariaDB, true, []string{
			"Reset", "ResetEarlier", "ResetStreaming", "ResetAfterLoad", "Restored", "Split",
			"Purged", "NoEvidence",
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "server")
			db := servertest.Database(t, kind.kind,
				servers.DatabaseOptions{Dir: dir, GTID: kind.gtid})
			for _, name := range kind.runs {
				t.Run(
					name,
					func(t *testing.T) {
						historyRuns[name](t, &source{newDatabase(t, db), db, dir})
					},
				)
			}
		})
	}
}

var historyRuns = map[string]func(*testing.T, *source){
	"Reset":          testHistoryReset,
	"ResetEarlier":   testHistoryResetEarlier,
	"ResetStreaming": testHistoryResetStreaming,
	"ResetAfterLoad": testHistoryResetAfterLoad,
	"Restored":       testHistoryRestored,
	"Split":          testHistorySplit,
	"Purged":         testHistoryPurged,
	"NoEvidence":     testHistoryNoEvidence,
	"Status":         testHistoryStatus,
}

// followed returns data that are at the end of the source's binlog and hold 20 rows.
func (s *source) followed() (*memory, *running) {
	s.t.Helper()
	s.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	r := start(s.t, s.config(), m, "")
	m.waitAt(s.t, s.end())
	s.insert(1, 20)
	m.waitAt(s.t, s.end())
	return m, r
}

// insert makes a transaction for each row from first to last.
func (s *source) insert(first, last int) {
	s.t.Helper()
	for id := first; id <= last; id++ {
		s.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id))
	}
}

// reset starts a new history of the server, in another second than before.
func (s *source) reset() {
	s.t.Helper()
	s.nextSecond()
	if s.conn.Server().Flavor == mysql.MariaDB {
		s.exec("RESET MASTER")
	} else {
		s.exec("RESET BINARY LOGS AND GTIDS")
	}
}

// nextSecond waits until the server's clock shows another second, because MariaDB's commit times
// have whole seconds only.
func (s *source) nextSecond() {
	s.t.Helper()
	now := func() string {
		r, err := s.conn.Query(s.t.Context(), "SELECT UNIX_TIMESTAMP()")
		if err != nil {
			s.t.Fatal(err)
		}
		return string(r.Rows[0][0])
	}
	began := now()
	waitFor(s.t, "the server's clock moves", func() bool { return now() != began })
}

// shutdown closes the connection, for which the server would wait, and stops the server.
func (s *source) shutdown() {
	s.t.Helper()
	_ = s.conn.Close()
	must(s.t, s.db.Shutdown())
}

func (s *source) reconnect() {
	s.t.Helper()
	s.conn = s.dial()
	s.exec("USE `" + s.name + "`")
}

// mustRefuse starts the pipeline and requires that it stops and leaves the data alone.
func (s *source) mustRefuse(m *memory, want ...string) {
	s.t.Helper()
	rows, units := m.rows("t"), len(m.Units(0))
	r := start(s.t, s.config(), m, "")
	r.mustStop(append(want, "compare histories", "--from snapshot")...)
	mustBeEqual(s.t, m.rows("t"), rows)
	if n := len(m.Units(0)); n != units {
		s.t.Errorf("%d units were written before the stop", n-units)
	}
	if stopped := r.pipeline.Stats().Stopped; !strings.Contains(stopped, "compare histories") {
		s.t.Errorf("status says stopped=%q", stopped)
	}
}

// The reset server has made more transactions than before: each GTID and offset exists again.
func testHistoryReset(t *testing.T, s *source) {
	m, r := s.followed()
	r.kill()
	held := m.progress(t).Position
	s.reset()
	s.exec("TRUNCATE TABLE t")
	s.insert(101, 150)
	// Where offsets are all there is, the old place must exist in the new file.
	for id := 201; !s.conn.Server().GTIDMode && s.end().CompareFile(held) < 0; id++ {
		s.insert(id, id)
	}
	s.mustRefuse(m, s.conn.Server().UUID)
	// The remedy that the error names works.
	r = start(t, s.config(), m, "snapshot")
	m.waitAt(t, s.end())
	mustBeEqual(t, m.rows("t"), s.rows("t"))
	r.kill()
	r = start(t, s.config(), m, "")
	s.insert(1001, 1003)
	m.waitAt(t, s.end())
	mustBeEqual(t, m.rows("t"), s.rows("t"))
	if why := r.pipeline.Stats().Unproved; why != "" && s.conn.Server().GTIDMode {
		t.Logf("not proved: %s", why)
	}
}

// The reset server has made fewer transactions than before. A retry cannot succeed.
func testHistoryResetEarlier(t *testing.T, s *source) {
	m, r := s.followed()
	r.kill()
	s.reset()
	s.mustRefuse(m, "no longer has transactions that it committed itself")
	s.insert(101, 103)
	s.mustRefuse(m, "no longer has transactions that it committed itself")
}

// A dump that a reset cuts off is reported as a reset, not as an I/O error.
func testHistoryResetStreaming(t *testing.T, s *source) {
	_, r := s.followed()
	s.reset()
	s.insert(101, 160) // the new file is longer than the old one
	r.mustStop("reset while it was followed", "compare histories", "--from snapshot")
	s.exec("DROP TABLE t")
	// A server that is idle after that goes on sending heartbeats, as if nothing had happened.
	_, r = s.followed()
	s.reset()
	r.mustStop("reset while it was followed", "compare histories", "--from snapshot")
}

// The server is reset after the first load, before any transaction was applied: there is no
// transaction to compare, but the binlog file in which the data begin is another one now. Such data
// once lost the first transactions of the new history without a word.
func testHistoryResetAfterLoad(t *testing.T, s *source) {
	loaded := func() (*memory, *running) {
		s.reset()
		s.exec("DROP TABLE IF EXISTS t")
		s.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
		s.insert(1, 3)
		m := newMemory()
		r := start(t, s.config(), m, "")
		m.waitAt(t, s.end())
		return m, r
	}
	m, r := loaded()
	r.kill()
	// A restart without any transaction has nothing but the file to compare, and says so.
	r = start(t, s.config(), m, "")
	waitFor(t, "status names what was compared", func() bool {
		return strings.Contains(r.pipeline.Stats().Unproved, "no transaction was applied yet")
	})
	s.insert(4, 4)
	waitFor(t, "the first transaction ends that", func() bool {
		return r.pipeline.Stats().Unproved == ""
	})
	r.kill()

	m, r = loaded()
	r.kill()
	s.reset()
	s.insert(101, 150)
	s.mustRefuse(m, s.conn.Server().UUID, "time at which the file was begun differs")

	_, r = loaded()
	s.reset()
	s.insert(101, 150)
	r.mustStop("reset while it was followed", "compare histories", "--from snapshot")
}

// copyDirectory copies the server's files and returns a function that restores them.
func (s *source) copyDirectory() (restore func()) {
	s.t.Helper()
	s.shutdown()
	data := filepath.Join(s.dir, "data")
	saved := filepath.Join(s.t.TempDir(), "copy")
	must(s.t, os.CopyFS(saved, os.DirFS(data)))
	must(s.t, s.db.Restart(s.t.Context()))
	s.reconnect()
	return func() {
		s.t.Helper()
		s.shutdown()
		must(s.t, os.RemoveAll(data))
		must(s.t, os.Rename(saved, data))
		must(s.t, s.db.Restart(s.t.Context()))
		s.reconnect()
	}
}

// The server is restored from an older copy of its files, and written to.
func testHistoryRestored(t *testing.T, s *source) {
	m, r := s.followed()
	r.kill()
	restore := s.copyDirectory()
	r = start(t, s.config(), m, "")
	s.insert(21, 30)
	m.waitAt(t, s.end())
	r.kill()
	s.nextSecond()
	restore()
	s.mustRefuse(m)
	s.insert(101, 120)
	s.mustRefuse(m)
}

// A split transaction was lost after a part of it was applied, and another transaction has its
// GTID. The history before it is the same.
func testHistorySplit(t *testing.T, s *source) {
	m, r := s.followed()
	r.kill()
	restore := s.copyDirectory()
	m.Before = func(u *sink.Unit) error {
		if u.Progress.Partial == 2 {
			return errCrash
		}
		return nil
	}
	c := s.config("max_atomic_rows: 10000", "max_atomic_rows: 10")
	r = start(t, c, m, "")
	s.exec("BEGIN")
	s.insert(21, 50)
	s.exec("COMMIT")
	waitFor(t, "it crashes", r.over)
	m.Before = nil
	if p := m.progress(t); p.Partial != 1 || p.Row != 10 {
		t.Fatalf("the data are at %d units, %d rows of the transaction", p.Partial, p.Row)
	}
	s.nextSecond()
	restore()
	s.exec("BEGIN")
	s.insert(121, 150)
	s.exec("COMMIT")
	start(t, c, m, "").mustStop("a part of a transaction", "differs", "--from snapshot")
	if rows := m.rows("t"); rows["150"] != "" {
		t.Error("rows of the other transaction were applied")
	}
}

// If the server has purged the last transaction, the history is unproved until the next one is
// compared.
func testHistoryPurged(t *testing.T, s *source) {
	m, r := s.followed()
	if why := r.pipeline.Stats().Unproved; why != "" {
		t.Errorf("data that were just built are not proved: %s", why)
	}
	s.exec("FLUSH BINARY LOGS")
	if !s.conn.Server().GTIDMode {
		m.waitAt(t, s.end())
	}
	r.kill()
	s.purge()
	r = start(t, s.config(), m, "")
	s.insert(31, 31)
	m.waitAt(t, s.end())
	mustBeEqual(t, m.rows("t"), s.rows("t"))
	if why := r.pipeline.Stats().Unproved; !strings.Contains(why, "purged") {
		t.Errorf("status says unproved=%q", why)
	}
	r.kill()
	r = start(t, s.config(), m, "")
	s.insert(32, 32)
	m.waitAt(t, s.end())
	if why := r.pipeline.Stats().Unproved; why != "" {
		t.Errorf("after the next proof status says unproved=%q", why)
	}
}

// STATUS and INFO show an unproved history.
func testHistoryStatus(t *testing.T, s *source) {
	s.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	c := s.config()
	m := runInstance(t, c)
	m.wait(s.database)
	s.insert(1, 3)
	m.wait(s.database)
	m.stop()
	s.exec("FLUSH BINARY LOGS")
	s.purge()
	m = runInstance(t, c)
	for _, want := range []string{
		`unproved="the server has purged the last applied transaction`, "unproved=,",
	} {
		waitFor(t, "STATUS and INFO say "+want, func() bool {
			status, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
			must(t, err)
			info, err := m.client.Info(t.Context(), "rowfall").Result()
			must(t, err)
			return strings.Contains(status, want) && strings.Contains(info, want)
		})
		s.exec("INSERT INTO t (id) SELECT MAX(id) + 1 FROM t")
		m.wait(s.database)
		m.stop()
		m = runInstance(t, c)
	}
}

// State of an older version has no evidence, and neither has a chosen position. Evidence that
// cannot be parsed is an error.
func testHistoryNoEvidence(t *testing.T, s *source) {
	m, r := s.followed()
	r.kill()
	s.setEvidence(m, "")
	at := s.end()
	from := fmt.Sprintf("%s:%d", at.File, at.Offset)
	for n, from := range []string{"", from} {
		r = start(t, s.config(), m, from)
		s.insert(41+n, 41+n)
		m.waitAt(t, s.end())
		if why := r.pipeline.Stats().Unproved; why == "" {
			t.Errorf("--from %q: status does not say that nothing is proved", from)
		}
		r.kill()
		r = start(t, s.config(), m, "")
		s.insert(51+n, 51+n)
		m.waitAt(t, s.end())
		if why := r.pipeline.Stats().Unproved; why != "" {
			t.Errorf("--from %q: after the next proof status says unproved=%q", from, why)
		}
		r.kill()
	}
	mustBeEqual(t, m.rows("t"), s.rows("t"))
	s.setEvidence(m, "{")
	start(t, s.config(), m, "").mustStop("evidence", "--from")
	at = s.end()
	start(t, s.config(), m, fmt.Sprintf("%s:%d", at.File, at.Offset))
	s.insert(61, 61)
	m.waitAt(t, s.end())
}

// setEvidence replaces the evidence in the sink; an empty text removes it.
func (s *source) setEvidence(m *memory, text string) {
	s.t.Helper()
	u := sink.Unit{Progress: m.progress(s.t).Progress}
	for i := range u.Progress.Position {
		if f := &u.Progress.Position[i]; f.Name == "evidence" {
			f.Value = []byte(text)
		}
	}
	must(s.t, m.Apply(s.t.Context(), &u))
}

// TestHistoryFlavor resumes data of a MySQL at a MariaDB and the reverse.
func TestHistoryFlavor(t *testing.T) {
	my := newDatabase(t, servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true}))
	maria := newDatabase(t, servertest.Database(t, servers.MariaDB, servers.DatabaseOptions{}))
	for _, d := range []*database{my, maria} {
		d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	}
	for _, d := range []*database{my, maria} {
		other, was, is := maria, "MySQL", "MariaDB"
		if d == maria {
			other, was, is = my, is, was
		}
		m := newMemory()
		r := start(t, d.config(), m, "")
		m.waitAt(t, d.end())
		r.kill()
		c := other.config()
		start(
			t, c, m, "",
		).mustStop("the data were built from a "+was+", but the server at "+other.addr+
			" is a "+is, "--from snapshot")
		start(t, c, newMemory(),
			"gtid:"+d.end().GTID.String()).mustStop("is a "+is, "GTIDs of another form")
	}
}
