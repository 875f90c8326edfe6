package pipelines_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/pipelines"
	"rowfall/sink"
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

// While a statement's table stays locked, the pipeline waits. The wait is visible, it can be
// ended, and no change is lost.
func testMetadataLock(t *testing.T, d *database) {
	defer pipelines.SetLockWait(time.Second)()
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "INSERT INTO u VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	if s := r.pipeline.Stats(); !s.Streaming || len(s.Held) > 0 {
		t.Errorf("an idle pipeline shows %+v", s)
	}

	locker := d.dial()
	for _, sql := range []string{"USE `" + d.name + "`", "LOCK TABLES t WRITE", "ALTER TABLE t COMMENT 'locked'"} {
		if err := locker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	d.exec("INSERT INTO u VALUES (2, 2)")
	reason := "metadata lock on " + d.name + ".t"
	// Several waits of the server itself pass.
	began := time.Now()
	waitFor(t, "the lock shows as a hold",
		func() bool { return held(r.pipeline, reason) && time.Since(began) > 3*time.Second })
	if r.over() || r.pipeline.Stats().Retrying != "" {
		t.Errorf("the run ended while it waited for the lock: %v", r.err)
	}
	if got := m.rows("u"); len(got) != 1 {
		t.Errorf("%d rows of the other table, want 1: they come after the statement", len(got))
	}
	// The wait ends with the run, and the next one is at the same place.
	r.kill()
	r = start(t, d.config(), m, "")
	waitFor(t, "the lock shows as a hold again", func() bool { return held(r.pipeline, reason) })
	if err := locker.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	m.waitAt(t, d.end())
	mustBeEqual(t, m.rows("u"), d.rows("u"))
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
		func() bool { return held(r.pipeline, "metadata lock on "+d.name+".t") })
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

// blackHole is a proxy whose connections can go dead without being closed, as behind a firewall
// that has lost its state. A connection goes dead when it sends a marker.
type blackHole struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu        sync.Mutex
	marker    string
	swallowed int // connections
	conns     []net.Conn
}

func newBlackHole(t *testing.T, target string) *blackHole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackHole{listener: l, target: target}
	b.done.Go(b.accept)
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.done.Wait()
	})
	return b
}

func (b *blackHole) accept() {
	for {
		in, err := b.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", b.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		b.mu.Lock()
		b.conns = append(b.conns, in, out)
		b.mu.Unlock()
		dead := make(chan struct{})
		b.done.Go(func() { b.pass(out, in, dead, true) })
		b.done.Go(func() { b.pass(in, out, dead, false) })
	}
}

// pass copies until one end closes. The bytes of a dead connection are dropped.
func (b *blackHole) pass(dst, src net.Conn, dead chan struct{}, watch bool) {
	chunk := make([]byte, 1<<16)
	for {
		n, err := src.Read(chunk)
		if err != nil {
			break
		}
		if watch && b.matches(chunk[:n]) {
			close(dead)
			watch = false
		}
		select {
		case <-dead:
			continue
		default:
		}
		if _, err := dst.Write(chunk[:n]); err != nil {
			break
		}
	}
	select {
	case <-dead:
		// The other end is not told. It is closed with the test.
	default:
		_ = dst.Close()
	}
}

func (b *blackHole) matches(sent []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.marker == "" || !bytes.Contains(sent, []byte(b.marker)) {
		return false
	}
	b.marker = ""
	b.swallowed++
	return true
}

// swallow makes the next connection that sends the marker go dead.
func (b *blackHole) swallow(marker string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marker = marker
}

func (b *blackHole) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.swallowed
}

// through returns the edits of a configuration that connects through the proxy.
func (b *blackHole) through(d *database) []string {
	return []string{
		fmt.Sprintf("addresses: [%q]", d.addr),
		fmt.Sprintf("addresses: [%q], tls: {mode: disabled}", b.listener.Addr()),
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

	link.swallow("information_schema")
	d.exec("ALTER TABLE t COMMENT 'x'", "INSERT INTO t VALUES (1, 1)")
	waitFor(
		t, "the silence shows as a hold",
		func() bool { return held(r.pipeline, "waiting for MySQL at "+link.listener.Addr().String()) },
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

// A table whose key cannot be compared exactly cannot be read in order. Under a wildcard the load
// leaves it unmapped, like a table without a key.
func testDoubleKey(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE approximate (id DOUBLE PRIMARY KEY, v INT)",
		"INSERT INTO approximate VALUES (1.5, 1)")
	m := newMemory()
	for range 2 { // what is left out is known after a restart
		r := start(t, d.config(), m, "")
		d.exec("INSERT INTO approximate SELECT MAX(id) + 1, 1 FROM approximate",
			"UPDATE t SET v = v + 1")
		m.waitAt(t, d.end())
		mustBeEqual(t, m.rows("t"), d.rows("t"))
		if rows := m.rows("approximate"); len(rows) > 0 {
			t.Errorf("%d rows of a table that is not mapped", len(rows))
		}
		s := r.pipeline.Stats()
		if len(s.Unmapped) != 1 || s.Unmapped[0].Table != d.name+".approximate" ||
			!strings.Contains(s.Unmapped[0].Reason, "double cannot be compared exactly") {
			t.Errorf("not mapped: %q", s.Unmapped)
		}
		r.kill()
	}
	edits := []string{`.*": {}`, fmt.Sprintf(".*\": {}\n  \"%s.approximate\": {}", d.name)}
	start(t, d.config(edits...), newMemory(),
		"").mustStop("test.yaml", d.name+".approximate.id", "cannot be compared exactly")
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
