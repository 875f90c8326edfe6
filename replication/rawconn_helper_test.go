package replication_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// rawConn is a connection without a client library.
type rawConn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// command reads one command from the peer.
func (r *rawConn) command() []string {
	r.t.Helper()
	var n int
	if _, err := fmt.Sscanf(r.line(), "*%d", &n); err != nil {
		r.t.Fatal(err)
	}
	args := make([]string, n)
	for i := range args {
		r.line()
		args[i] = r.line()
	}
	return args
}

// handshake replies +OK to the commands that a replica sends before PSYNC. It returns the words of
// PSYNC.
func (r *rawConn) handshake() []string {
	r.t.Helper()
	for {
		words := r.command()
		if len(words) == 0 || strings.EqualFold(words[0], "PSYNC") {
			return words
		}
		if _, err := r.Write([]byte("+OK\r\n")); err != nil {
			r.t.Fatal(err)
		}
	}
}

// send writes a command.
func (r *rawConn) send(args ...string) {
	r.t.Helper()
	if _, err := r.Write(unit(args...)); err != nil {
		r.t.Fatal(err)
	}
}

// line reads a line, and returns it without its line end.
func (r *rawConn) line() string {
	r.t.Helper()
	s, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read line: %v after %q", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// reply returns the next line that is not empty.
func (r *rawConn) reply() string {
	for {
		if s := r.line(); s != "" {
			return s
		}
	}
}

// do sends a command and returns the first line of the reply.
func (r *rawConn) do(args ...string) string {
	r.t.Helper()
	r.send(args...)
	return r.line()
}

// expect reads as many bytes as want has and compares them.
func (r *rawConn) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r.r, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitTimeout))
	return &rawConn{t, conn, bufio.NewReader(conn)}
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
