package main

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link is a TCP proxy whose connections a test can cut.
type link struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", testAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	k.done.Go(k.accept)
	t.Cleanup(func() {
		_ = l.Close()
		k.cut()
		k.done.Wait()
	})
	return k
}

func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) accept() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", k.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		k.mu.Lock()
		k.conns[in], k.conns[out] = struct{}{}, struct{}{}
		k.mu.Unlock()
		k.done.Go(func() { k.pass(in, out) })
		k.done.Go(func() { k.pass(out, in) })
	}
}

func (k *link) pass(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_, _ = dst.Close(), src.Close()
	k.mu.Lock()
	delete(k.conns, dst)
	delete(k.conns, src)
	k.mu.Unlock()
}

// cut closes every connection, wherever in the stream it is.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		_ = c.Close()
	}
}
