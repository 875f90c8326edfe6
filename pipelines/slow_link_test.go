package pipelines_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// slowLink is a proxy that forwards what a server sends only up to an allowed number of bytes, and
// then in one write.
type slowLink struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	open    bool
	allowed int // bytes to hand on at once, while not open
	ended   bool
	conns   []net.Conn
}

func newSlowLink(t *testing.T, target string) *slowLink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slowLink{listener: l, target: target, open: true}
	s.changed = sync.NewCond(&s.mu)
	s.done.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *slowLink) accept() {
	for {
		in, err := s.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", s.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		s.mu.Lock()
		s.conns = append(s.conns, in, out)
		s.mu.Unlock()
		s.done.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		s.done.Go(func() { s.pass(in, out) })
	}
}

// pass collects what src sends and forwards it when that is allowed.
func (s *slowLink) pass(dst, src net.Conn) {
	var held []byte
	over := false
	s.done.Go(func() {
		chunk := make([]byte, 1<<20)
		for {
			n, err := src.Read(chunk)
			s.mu.Lock()
			held = append(held, chunk[:n]...)
			over = err != nil
			s.changed.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	for {
		s.mu.Lock()
		for !over && !s.ended &&
			(len(held) == 0 || !s.open && (s.allowed == 0 || len(held) < s.allowed)) {
			s.changed.Wait()
		}
		n := len(held)
		if !s.open {
			n = min(n, s.allowed)
			s.allowed = 0
		}
		out := held[:n:n]
		held = held[n:]
		end := s.ended || over && len(held) == 0
		s.mu.Unlock()
		if _, err := dst.Write(out); err != nil || end {
			_ = dst.Close()
			return
		}
	}
}

// set opens the proxy, or allows a number of bytes.
func (s *slowLink) set(open bool, allowed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.allowed = open, allowed
	s.changed.Broadcast()
}

func (s *slowLink) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.ended = true
	s.changed.Broadcast()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}
