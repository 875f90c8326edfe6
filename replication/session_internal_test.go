package replication

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// countingConn is a client's connection in memory that counts writes.
type countingConn struct {
	net.Conn
	writes int
	got    bytes.Buffer
}

func (c *countingConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (c *countingConn) SetWriteDeadline(time.Time) error { return nil }

func (c *countingConn) Write(b []byte) (int, error) { c.writes++; return c.got.Write(b) }

// newTestSession returns a session of a node that does not run.
func newTestSession(t *testing.T) (*session, *countingConn) {
	t.Helper()
	n, err := Open(Config{Listen: "127.0.0.1:0", Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	conn := &countingConn{}
	return newSession(n, conn), conn
}

// The limit of queued commands applies to their memory. Once, empty arguments counted as nothing,
// so that a client could queue gigabytes of them.
func TestQueueLimitCountsArguments(t *testing.T) {
	s, _ := newTestSession(t)
	s.multi = queue{open: true, bytes: maxQueued - queuedCommand - 3*queuedArg}
	args := make([][]byte, 4)
	args[0] = []byte("MGET")
	s.enqueue(s.resolve(args[0]), args)
	if got := string(s.out); got != "-ERR transaction is too large\r\n" || !s.multi.broken {
		t.Errorf("got %q", got)
	}
}

// A reply is written in chunks, to each of which the time-out applies, so that a client may read a
// large reply slowly.
func TestReplyIsWrittenInChunks(t *testing.T) {
	s, conn := newTestSession(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), replyChunk/4)
	s.out = bytes.Clone(want)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(conn.got.Bytes(), want) || conn.writes != 4 {
		t.Errorf("%d bytes in %d writes", conn.got.Len(), conn.writes)
	}
}
