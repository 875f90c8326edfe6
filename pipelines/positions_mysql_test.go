package pipelines_test

import (
	"path/filepath"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestPositionKinds changes what positions of one MySQL look like: the mode of its GTIDs, and the
// names of its binlog files.
func TestPositionKinds(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "server")
	o := servers.DatabaseOptions{Dir: dir, GTID: true}
	s := &source{dir: dir, db: servertest.Database(t, servers.MySQL, o)}
	s.database = newDatabase(t, s.db)
	s.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	t.Run("Modes", func(t *testing.T) { testGTIDModes(t, s) })
	t.Run("Renamed", func(t *testing.T) { testRenamedBinlog(t, s) })
}

// setMode sets gtid_mode, from a mode beside it.
func (s *source) setMode(mode string) {
	s.t.Helper()
	s.exec("SET GLOBAL gtid_mode = " + mode)
	_ = s.conn.Close()
	s.reconnect()
}

// waitEqual waits until the data have the rows of the source.
func (s *source) waitEqual(t *testing.T, m *memory) {
	t.Helper()
	want := s.rows("t")
	waitFor(t, "the data have all rows", func() bool {
		got := m.rows("t")
		return len(got) == len(want)
	})
	mustBeEqual(t, m.rows("t"), want)
}

// While gtid_mode is changed step by step, transactions with and without GTIDs follow each other. A
// load, a stream and a restart work in each mode and across each change.
func testGTIDModes(t *testing.T, s *source) {
	m := newMemory()
	r := start(t, s.config(), m, "")
	m.waitAt(t, s.end())
	id := 0
	insert := func() {
		t.Helper()
		id++
		s.insert(id, id)
		s.waitEqual(t, m)
	}
	insert()
	// The stream was opened at a GTID set, and the server does not send transactions without a GTID
	// to it. The next run continues by file and offset.
	s.setMode("ON_PERMISSIVE")
	s.setMode("OFF_PERMISSIVE")
	id++
	s.insert(id, id)
	r.mustFail("gtid_mode of the server was changed")
	r = r.again()
	s.waitEqual(t, m)
	for _, mode := range []string{"OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"} {
		s.setMode(mode)
		insert()
		r.kill()
		r = start(t, s.config(), m, "")
		insert()
		loaded := newMemory()
		fresh := start(t, s.config(), loaded, "")
		s.waitEqual(t, loaded)
		id++
		s.insert(id, id)
		s.waitEqual(t, loaded)
		fresh.kill()
		insert()
		if got := m.progress(t).Position; got.GTID.IsZero() != (mode != "ON") {
			t.Errorf("in the mode %s the position is %+v", mode, got)
		}
		if end := s.end(); end.GTID.IsZero() != (mode != "ON") {
			t.Errorf("in the mode %s a load would begin at %+v", mode, end)
		}
	}
	r.kill()
	// The server does not send what was committed without a GTID while the mode is ON. The data
	// are not rejected as those of another history, and the remedy of the error works.
	for _, mode := range []string{"ON_PERMISSIVE", "OFF_PERMISSIVE"} {
		s.setMode(mode)
	}
	r = start(t, s.config(), m, "")
	insert()
	r.kill()
	id++
	s.insert(id, id)
	for _, mode := range []string{"ON_PERMISSIVE", "ON"} {
		s.setMode(mode)
	}
	r = start(t, s.config(), m, "")
	r.mustFail("Cannot replicate anonymous transaction", "set it to ON_PERMISSIVE")
	s.setMode("ON_PERMISSIVE")
	r = start(t, s.config(), m, "")
	insert()
	s.setMode("ON")
	insert()
	r.kill()
}

// The server is started with another log_bin: its files are numbered from 1 again.
func testRenamedBinlog(t *testing.T, s *source) {
	renamed := func(log, mode string, args ...string) {
		t.Helper()
		s.shutdown()
		s.db = servertest.Database(t, servers.MySQL, servers.DatabaseOptions{
			Dir: s.dir, GTID: true, Args: append(args, "--log-bin="+log, "--gtid-mode="+mode,
				"--enforce-gtid-consistency=ON"),
		})
		s.addr = s.db.Addr()
		s.reconnect()
	}
	m := newMemory()
	r := start(t, s.config(), m, "")
	m.waitAt(t, s.end())
	s.insert(1001, 1002)
	m.waitAt(t, s.end())
	r.kill()
	s.insert(1010, 1011)
	// The list of files stays, and the stream passes from binlog.N to other.000001.
	renamed("other", "ON", "--log-bin-index=binlog.index")
	r = start(t, s.config(), m, "")
	s.insert(1003, 1004)
	m.waitAt(t, s.end())
	s.waitEqual(t, m)
	if why := r.pipeline.Stats().Unproved; why != "" {
		t.Errorf("not proved: %s", why)
	}
	if at := m.progress(t).Position; !strings.HasPrefix(at.File, "other.") {
		t.Errorf("the position is %+v", at)
	}
	r.kill()

	// Without GTIDs the position is lost with the files. Every table is read again.
	s.setMode("ON_PERMISSIVE")
	r = start(t, s.config(), m, "")
	s.insert(1005, 1005)
	s.waitEqual(t, m)
	r.kill()
	s.insert(1006, 1006)
	renamed("third", "ON_PERMISSIVE")
	s.exec("UPDATE t SET v = 7 WHERE id = 1005")
	r = start(t, s.config(), m, "")
	r.mustFail("purged", "every table is read again")
	r = r.again()
	s.waitEqual(t, m)
	r.kill()
}
