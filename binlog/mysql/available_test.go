package mysql

import (
	"net"
	"testing"
	"time"
)

// ReadAvailable reads what has arrived and never waits, whether the connection waits in Go's poller
// or in system calls.
func TestReadAvailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c := newConn(l.Addr().String(), raw, time.Minute)
	defer c.Close()
	b := make([]byte, 16)
	for range 2 {
		if n := c.ReadAvailable(b); n != 0 {
			t.Errorf("%d bytes are available before any was sent", n)
		}
		if _, err := peer.Write([]byte("event")); err != nil {
			t.Fatal(err)
		}
		n := 0
		for deadline := time.Now().Add(time.Minute); n == 0 && time.Now().Before(deadline); {
			n = c.ReadAvailable(b)
		}
		if string(b[:n]) != "event" {
			t.Errorf("read %q", b[:n])
		}
		// An interrupted connection is not read.
		_ = c.NetConn().SetReadDeadline(time.Unix(1, 0))
		_, _ = peer.Write([]byte("later"))
		if n := c.ReadAvailable(b); n != 0 {
			t.Errorf("read %q after the deadline", b[:n])
		}
		_ = c.NetConn().SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.NetConn().Read(b); err != nil || string(b[:n]) != "later" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		c.WaitInKernel()
	}
	_ = peer.Close()
	if _, err := c.NetConn().Read(b); err == nil {
		t.Error("the end of the connection is no error")
	}
	if n := c.ReadAvailable(b); n != 0 {
		t.Errorf("read %d bytes after the end", n)
	}
}
