package pipelines_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// cutLink is a proxy that can close a connection while the server sends something large.
type cutLink struct {
	listener net.Listener
	target   string
	// limit is how many bytes the server may send over a connection from now on; 0 is no limit. The
	// first connection that exceeds the limit is closed, and removes it.
	limit atomic.Int64
	done  sync.WaitGroup
}

func newCutLink(t *testing.T, target string) *cutLink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutLink{listener: l, target: target}
	c.done.Go(c.accept)
	// The pipeline, which ends before, closes the connections.
	t.Cleanup(func() { _ = l.Close(); c.done.Wait() })
	return c
}

func (c *cutLink) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.done.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		c.done.Go(func() { c.pass(client, server); _ = client.Close(); _ = server.Close() })
	}
}

// pass forwards what the server sends until the connection ends or is cut.
func (c *cutLink) pass(client, server net.Conn) {
	chunk := make([]byte, 1<<12)
	sent := int64(0) // under a limit
	for {
		n, err := server.Read(chunk)
		if _, werr := client.Write(chunk[:n]); err != nil || werr != nil {
			return
		}
		if limit := c.limit.Load(); limit > 0 {
			if sent += int64(n); sent > limit && c.limit.CompareAndSwap(limit, 0) {
				return
			}
		}
	}
}

// nextTransaction returns the name of the transaction that the server executes next.
func (d *database) nextTransaction() string {
	d.t.Helper()
	text := d.end().GTID.String()
	i := strings.LastIndexAny(text, "-:")
	var last int
	if _, err := fmt.Sscan(text[i+1:], &last); err != nil {
		d.t.Fatal(err)
	}
	if strings.Contains(text, ":") {
		i = strings.Index(text, ":")
	}
	return fmt.Sprintf("gtid:%s%d", text[:i+1], last+1)
}

// A transaction that is to be skipped and that does not arrive entirely is passed by its GTID. The
// stream is opened again after it.
func testSkipCut(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(16000))", "INSERT INTO t VALUES (0, 'x')")
	link := newCutLink(t, d.addr)
	m := newMemory()
	r := start(t, d.config(fmt.Sprintf("addresses: [%q]", d.addr),
		fmt.Sprintf("addresses: [%q], tls: {mode: disabled}", link.listener.Addr())), m, "")
	m.waitAt(t, d.end())
	at := d.nextTransaction()
	must(t, r.pipeline.Skip(t.Context(), at, nil))
	link.limit.Store(3_000_000)
	d.exec("BEGIN")
	for id := 1; id < 300; id++ {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s')", id, strings.Repeat("large", 3000)))
	}
	d.exec("COMMIT", "INSERT INTO t VALUES (1000, 'next')")
	r.mustFail("read binlog after")
	if got := m.progress(t); got.Gaps != "" {
		t.Errorf("after the first cut the gaps are %s", got.Gaps)
	}
	link.limit.Store(3_000_000)
	r = r.again()
	r.mustFail("the skipped transaction "+at, "is opened again after it")
	if got := m.progress(t); !strings.Contains(got.Gaps, fmt.Sprintf(`"at":%q,"tables":[]`, at)) {
		t.Errorf("the gaps are %s", got.Gaps)
	}
	r = r.again()
	m.waitAt(t, d.end())
	r.kill()
	mustBeEqual(t, m.rows("t"), map[string]string{"0": "x", "1000": "next"})
	if s := r.pipeline.Stats(); len(s.Skips) > 0 || len(s.Gaps) != 1 {
		t.Errorf("status shows %+v and %+v", s.Skips, s.Gaps)
	}
}
