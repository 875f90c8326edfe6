package pipelines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/pipelines"
	"rowfall/replication/resp"
	"rowfall/sink"
)

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
	for _, from := range []string{
		"gtid:" + early.GTID.String(), fmt.Sprintf("%s:%d", early.File, early.Offset),
	} {
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
		r = startFrom(t, c, m, "gtid:"+middle.GTID.String())
		m.waitAt(t, d.end())
		r.kill()
		r = startFrom(t, c, m, from)
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
	r = startFrom(t, c, m, "gtid:"+m.progress(t).Position.GTID.String())
	r.kill()
	if p := m.progress(t); p.Phase != sink.Streaming {
		t.Errorf("moved to where it is, the data is %v", p.Phase)
	}
	// Forth: the rows between are not in the data, a later change writes all.
	d.exec("INSERT INTO t VALUES (8, 8)", "INSERT INTO t VALUES (9, 9)")
	start(t, c, m, "now")
	m.waitAt(t, d.end())
	if got := m.rows("t"); got["8"] != "" {
		t.Errorf("rows that --from skipped are there: %v", got)
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
	start(t, d.config(), m, "yesterday").mustStop(
		"want snapshot, now, gtid:SET, FILE:OFFSET or time:")
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
		"").mustStop("no position of pipeline test", "--from snapshot")
	start(t, d.config(), m, pipelines.FromReplace).mustStop("this kind of sink cannot hold")

	m = newMemory()
	r := start(t, d.config(), m, pipelines.FromReplace) // nothing is there to be replaced
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))

	units := len(m.Units(0))
	other := d.config(".*\": {}", ".*\": {columns: {rename: {v: value}}}")
	start(
		t, other, m, "",
	).mustStop("test.yaml:6: tables.\""+d.name+".*\".columns.rename.v: the data was built with "+
		"another mapping than this file's, which does not have this", "--from snapshot")
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

// The position has a time before the first transaction after the load.
func testTimeOfLoad(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	for _, from := range []string{"snapshot", "now"} {
		began := time.Now().Add(-time.Minute)
		m := newMemory()
		r := start(t, d.config(), m, from)
		m.waitAt(t, d.end())
		p := m.progress(t)
		if at := time.UnixMicro(p.Time); at.Before(began) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("--from %s: the position's time is %v", from, at)
		}
		r.kill()
	}
	// When a position of the past was the newest is not known.
	m := newMemory()
	var first sink.Progress
	m.Before = func(u *sink.Unit) error {
		if first.Phase == sink.Empty {
			first = u.Progress
		}
		return nil
	}
	at := d.end()
	d.exec("INSERT INTO t VALUES (2, 2)")
	start(t, d.config(), m, "gtid:"+at.GTID.String())
	m.waitAt(t, d.end())
	if first.Time != 0 {
		t.Errorf("a start at a given position has the time %v", time.UnixMicro(first.Time))
	}
}

// Tables with a floating-point key are loaded in chunks, followed, and swept.
func testDoubleKey(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id DOUBLE PRIMARY KEY, v INT)",
		"CREATE TABLE f (id FLOAT NOT NULL, n INT, v INT, PRIMARY KEY (id, n))")
	for i := range 20 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d / 7e0, %d), (-%d * 1e-9 - 1e-9, 0)", i, i, i),
			fmt.Sprintf("INSERT INTO f VALUES (%d / 7e0, %d, 1), (0.1, %d, 2)", i, i, i+100))
	}
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 3")
	r := start(t, c, m, "")
	r.mustEqual(d, &c, m, "the load")
	d.exec("UPDATE t SET v = v + 1", "DELETE FROM f WHERE n % 2 = 0",
		"UPDATE f SET id = id * 1.5 WHERE n > 100")
	r.mustEqual(d, &c, m, "changes")
	d.exec("SET SESSION sql_log_bin=0", "DELETE FROM t WHERE v % 3 = 0", "UPDATE f SET v = 9",
		"SET SESSION sql_log_bin=1")
	for _, table := range []string{"t", "f"} {
		if _, err := r.pipeline.Backfill(t.Context(), d.name+"."+table); err != nil {
			t.Fatal(err)
		}
	}
	r.mustEqual(d, &c, m, "a backfill")
}
