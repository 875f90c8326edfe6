package mysql

import (
	"crypto/tls"
	"net"
	"runtime"
	"testing"
	"time"

	"rowfall/internal/testcert"
)

// ReadAvailable reads what has arrived and never waits, with TLS and without, whether the
// connection waits in Go's poller or in system calls.
func TestReadAvailable(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		for _, inKernel := range []bool{false, true} {
			testReadAvailable(t, useTLS, inKernel)
		}
	}
}

func testReadAvailable(t *testing.T, useTLS, inKernel bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) // so that WaitInKernel takes the socket
	c, peer := connected(t, useTLS)
	defer c.Close()
	if inKernel {
		c.WaitInKernel()
	}
	send := func(parts ...string) {
		t.Helper()
		for _, part := range parts { // each is one record of TLS
			if _, err := peer.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := make([]byte, 64)
	receive := func(want string) (reads int) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(time.Minute); got != want && time.Now().Before(deadline); {
			if n := c.ReadAvailable(b); n > 0 {
				got += string(b[:n])
				reads++
			}
		}
		if got != want {
			t.Errorf("TLS %v, kernel %v: read %q, want %q", useTLS, inKernel, got, want)
		}
		return reads
	}
	for range 2 {
		if n := c.ReadAvailable(b); n != 0 {
			t.Errorf("%d bytes are available before any was sent", n)
		}
		send("event")
		receive("event")
		// An interrupted connection is not read.
		_ = c.NetConn().SetReadDeadline(time.Unix(1, 0))
		send("later")
		if n := c.ReadAvailable(b); n != 0 {
			t.Errorf("read %q after the deadline", b[:n])
		}
		_ = c.NetConn().SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.NetConn().Read(b); err != nil || string(b[:n]) != "later" {
			t.Errorf("read %q, %v", b[:n], err)
		}
	}
	// Everything that has arrived is read at once. That a part has not arrived yet is rare.
	isOneRead := false
	for range 50 {
		send("one ", "two ", "three")
		isOneRead = receive("one two three") == 1 || isOneRead
	}
	if !isOneRead {
		t.Errorf("TLS %v, kernel %v: several reads are needed each time", useTLS, inKernel)
	}
	_ = peer.Close()
	if _, err := c.NetConn().Read(b); err == nil {
		t.Error("the end of the connection is no error")
	}
	if n := c.ReadAvailable(b); n != 0 {
		t.Errorf("read %d bytes after the end", n)
	}
}

// connected returns a connection and its other end, after the handshake.
func connected(t *testing.T, useTLS bool) (c *Conn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if useTLS {
		server := tls.Server(peer, &tls.Config{Certificates: []tls.Certificate{testcert.New(t)}})
		client := tls.Client(&greetedConn{Conn: conn, budget: -1},
			&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		conn, peer = client, server
	}
	return newConn(l.Addr().String(), conn, time.Minute), peer
}
