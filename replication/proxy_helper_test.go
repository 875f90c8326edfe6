package replication_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy forwards connections to another address. From there to the client, each connection passes
// at most limit bytes; then the proxy closes it.
type proxy struct {
	net.Listener
	limit  atomic.Int64
	passed atomic.Int64 // bytes towards the client, by the last connection that ended

	hold int64         // each connection stops after this many bytes until release; 0: none stops
	held chan struct{} // receives a value for each connection that stops
	open chan struct{} // closed by release

	mu    sync.Mutex
	conns []net.Conn
	head  []byte // the first bytes of the last connection
	wg    sync.WaitGroup
}

func (p *proxy) addr() string { return p.Addr().String() }

func (p *proxy) pass(in, out net.Conn) {
	defer in.Close()
	defer out.Close()
	const begin = 200
	head, _ := io.ReadAll(io.LimitReader(io.TeeReader(out, in), min(p.limit.Load(), begin)))
	p.mu.Lock()
	p.head = head
	p.mu.Unlock()
	passed := int64(len(head))
	if p.hold > passed {
		n, _ := io.CopyN(in, out, p.hold-passed)
		passed += n
		p.held <- struct{}{}
		<-p.open
	}
	n, _ := io.CopyN(in, out, p.limit.Load()-passed)
	p.passed.Store(passed + n)
}

// marked reports whether the last snapshot that began to pass ends with a mark instead of having a
// length.
func (p *proxy) marked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.head, []byte("$EOF:"))
}

// release lets the stopped connections continue.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func newProxy(t *testing.T, addr string, hold int64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, hold: hold, held: make(chan struct{}, 100), open: make(chan struct{})}
	p.limit.Store(1 << 40)
	p.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wg.Go(func() { _, _ = io.Copy(out, in); out.Close(); in.Close() })
			p.wg.Go(func() { p.pass(in, out) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.release()
		p.cut()
		p.wg.Wait()
	})
	return p
}
