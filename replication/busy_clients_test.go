package replication_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"

	"rowfall/replication"
)

// The tests of this file are about clients that have sent many commands, whose sessions wait for
// the next command without an attempt to read.

// busyClient is a client that has sent many commands.
func busyClient(t *testing.T, n *replication.Node) *rawConn {
	t.Helper()
	r := dialRaw(t, n.Addr())
	for range 100 {
		if got := r.do("PING"); got != "+PONG" {
			t.Fatal(got)
		}
	}
	return r
}

// A client that closes its side together with its last command gets the reply, and then the end.
func TestBusyClientHalfCloses(t *testing.T) {
	n, _ := start(t, config(t))
	for range 10 {
		r := busyClient(t, n)
		r.send("ECHO", "last")
		if err := r.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.expect("$4\r\nlast\r\n")
		if _, err := r.r.ReadByte(); err != io.EOF {
			t.Errorf("the connection stays open: %v", err)
		}
	}
	eventually(t, "the sessions end", func() bool { return n.Status().Clients == 0 })
}

// A client that has left is noticed, whether or not it has read the last reply.
func TestBusyClientLeaves(t *testing.T) {
	n, _ := start(t, config(t))
	for i := range 20 {
		r := busyClient(t, n)
		if i%2 == 0 {
			r.send("PING")
		}
		r.Close()
	}
	eventually(t, "the sessions end", func() bool { return n.Status().Clients == 0 })
}

// Sessions that kill one another at the same time do not wait for one another.
func TestBusyClientsKillOneAnother(t *testing.T) {
	n, _ := start(t, config(t))
	for range 5 {
		var all []*rawConn
		for range 4 {
			all = append(all, busyClient(t, n))
		}
		var killers sync.WaitGroup
		for _, r := range all {
			killers.Go(func() {
				// An error means that another session killed this one.
				_, _ = r.Write(unit("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
				if _, err := io.Copy(io.Discard, r.r); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a session was not killed")
				}
			})
		}
		killers.Wait()
		eventually(t, "the sessions end", func() bool { return n.Status().Clients == 0 })
	}
}

// A command that blocks ends when its client leaves, and other commands follow it, in a pipeline
// and one by one.
func TestBusyClientBlocks(t *testing.T) {
	left := make(chan struct{}, 1)
	c := config(t)
	c.Commands = map[string]replication.Handler{
		"LEN": func(_ context.Context, out []byte, _ int, args [][]byte) []byte {
			return append(strconv.AppendInt(append(out, ':'), int64(len(args)), 10), '\r', '\n')
		},
		"HANG": func(ctx context.Context, out []byte, _ int, _ [][]byte) []byte {
			<-ctx.Done()
			left <- struct{}{}
			return out
		},
	}
	n, _ := start(t, c)
	r := busyClient(t, n)
	for range 100 {
		if _, err := r.Write([]byte("PING\r\nLEN a b\r\nPING\r\nLEN\r\nWAIT 0 1\r\n")); err != nil {
			t.Fatal(err)
		}
		r.expect("+PONG\r\n:3\r\n+PONG\r\n:1\r\n:0\r\n")
		if got := r.do("LEN", "a"); got != ":2" {
			t.Fatal(got)
		}
	}
	r.send("HANG")
	r.Close()
	<-left
}
