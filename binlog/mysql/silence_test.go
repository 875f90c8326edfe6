package mysql

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedServer answers each statement with a result of one column: rows, each of which it sends
// after a pause. After the last row it sends nothing more, as a server does whose link is dead.
func scriptedServer(conn net.Conn, rows int, pause time.Duration) {
	defer func() { _ = conn.Close() }()
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(head[0])); err != nil {
		return
	}
	out := []byte{1, 0, 0, 1, 1}                                         // one column
	out = append(out, 12, 0, 0, 2, 0, 0, 0, 0, 1, 'c', 0, 0, 0, 0, 0, 0) // its definition
	out = append(out, 5, 0, 0, 3, 0xfe, 0, 0, 0, 0)                      // the definitions' end
	for i := 0; ; i++ {
		if _, err := conn.Write(out); err != nil {
			return
		}
		if i == rows {
			break
		}
		time.Sleep(pause)
		out = []byte{2, 0, 0, byte(4 + i), 1, 'x'}
	}
	_, _ = io.Copy(io.Discard, conn) // until the client closes
}

// A dead link looks like a slow statement: the connection is given up when nothing has come for
// the limit, and not before, however long the whole result takes.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go scriptedServer(server, 10, 50*time.Second)
		c := newConn("pipe", client, 0)
		if at := c.SilentSince(); !at.IsZero() {
			t.Errorf("silent since %v before any statement", at)
		}
		began, rows := time.Now(), 0
		err := c.Stream(context.Background(), "SELECT 1", func([][]byte) error {
			rows++
			if at := c.SilentSince(); !at.Equal(time.Now()) {
				t.Errorf("row %d has just come, but SilentSince is %v", rows, at)
			}
			return nil
		})
		var silent *SilentError
		if !errors.As(err, &silent) || silent.Limit != defaultSilence {
			t.Errorf("a connection without an answer fails with %v", err)
		}
		if took := time.Since(began); rows != 10 || took != 10*50*time.Second+defaultSilence {
			t.Errorf("%d rows came in %v, want 10 rows and then a wait of %v", rows, took,
				defaultSilence)
		}
		if err := c.Exec(context.Background(), "SELECT 1"); !errors.Is(err, errBroken) {
			t.Errorf("the connection is used again: %v", err)
		}
	})
}

// A peer that reads nothing is noticed as well.
func TestSilenceOfReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = server.Close() }()
		c := newConn("pipe", client, 10*time.Second)
		defer c.SetSilence(20 * time.Second)()
		began := time.Now()
		err := c.Exec(context.Background(), "SELECT 1")
		if !errors.As(err, new(*SilentError)) || time.Since(began) != 20*time.Second+quitTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
