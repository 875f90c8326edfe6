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

// raw is a connection without a client library.
type raw struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// command reads one command that the other side sends.
func (r *raw) command() []string {
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

// handshake answers what a replica sends before its PSYNC, which it returns.
func (r *raw) handshake() []string {
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

func (r *raw) send(args ...string) {
	r.t.Helper()
	if _, err := r.Write(unit(args...)); err != nil {
		r.t.Fatal(err)
	}
}

// line reads a line without its end.
func (r *raw) line() string {
	r.t.Helper()
	s, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read line: %v after %q", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// reply is the first line that is not empty.
func (r *raw) reply() string {
	for {
		if s := r.line(); s != "" {
			return s
		}
	}
}

func (r *raw) do(args ...string) string {
	r.t.Helper()
	r.send(args...)
	return r.line()
}

func (r *raw) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r.r, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &raw{t, conn, bufio.NewReader(conn)}
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
