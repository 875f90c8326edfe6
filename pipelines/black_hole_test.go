package pipelines_test

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
)

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
	// dead are functions that make a connection go dead.
	dead []func()
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
		dead := make(chan struct{})
		kill := sync.OnceFunc(func() { close(dead) })
		b.dead = append(b.dead, kill)
		b.mu.Unlock()
		b.done.Go(func() { b.pass(out, in, dead, kill) })
		b.done.Go(func() { b.pass(in, out, dead, nil) })
	}
}

// pass copies until one end closes. The bytes of a dead connection are dropped. If kill is not nil,
// the marker is watched for.
func (b *blackHole) pass(dst, src net.Conn, dead chan struct{}, kill func()) {
	chunk := make([]byte, 1<<16)
	for {
		n, err := src.Read(chunk)
		if err != nil {
			break
		}
		if kill != nil && b.matches(chunk[:n]) {
			kill()
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

// silence makes all connections go dead.
func (b *blackHole) silence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kill := range b.dead {
		kill()
	}
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
