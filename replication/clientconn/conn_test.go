package clientconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waitTime ends a test that hangs.
const waitTime = 60 * time.Second

// pair returns the two ends of a TCP connection. wrap changes the one in the Conn.
func pair(t testing.TB, wrap func(net.Conn) net.Conn) (c *Conn, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	if err := dialed.SetDeadline(time.Now().Add(waitTime)); err != nil {
		t.Fatal(err)
	}
	return New(wrap(accepted)), dialed.(*net.TCPConn)
}

// plain changes nothing.
func plain(conn net.Conn) net.Conn { return conn }

// echo serves c until the connection ends: it writes back what it reads. It returns why it ended.
func echo(c *Conn) error {
	buf, end := make([]byte, 512), error(nil)
	err := c.Serve(func() (wait bool) {
		for {
			n, err := c.Read(buf)
			if errors.Is(err, ErrWait) {
				return true
			}
			if end = err; end == nil {
				end = c.WriteWithin(buf[:n], waitTime)
			}
			if end != nil {
				return false
			}
		}
	})
	if err != nil {
		return err
	}
	return end
}

// serve runs echo and returns its result by a channel.
func serve(t testing.TB, c *Conn) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := echo(c)
		c.Close()
		ended <- err
	}()
	t.Cleanup(func() { c.Sever(); <-done })
	return ended
}

// exchange sends request and checks that the same bytes come back.
func exchange(t *testing.T, peer io.ReadWriter, request []byte) {
	t.Helper()
	if _, err := peer.Write(request); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(request))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, request) {
		t.Fatalf("got %q, %v, want %q", got, err, request)
	}
}

// wait returns the result of serve.
func wait(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(waitTime):
		t.Fatal("Serve does not end")
		return nil
	}
}

// Requests of all lengths, one at a time and many at once, are answered, however they arrive.
func TestServe(t *testing.T) {
	t.Run("plain TCP", func(t *testing.T) { testServe(t, plain) })
	t.Run("any other connection", func(t *testing.T) { testServe(t, hidden) })
}

// hidden hides that a connection is plain TCP.
func hidden(conn net.Conn) net.Conn { return struct{ net.Conn }{conn} }

func testServe(t *testing.T, wrap func(net.Conn) net.Conn) {
	c, peer := pair(t, wrap)
	ended := serve(t, c)
	for n := range 3 * 512 {
		exchange(t, peer, bytes.Repeat([]byte{byte(n)}, n+1))
	}
	var writer sync.WaitGroup
	const total = 1 << 20
	writer.Go(func() {
		for n := 0; n < total; n += 1 << 10 {
			if _, err := peer.Write(make([]byte, 1<<10)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if _, err := io.ReadFull(peer, make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	if c.raw != nil && !c.unconfirmed.Load() {
		t.Error("every read is confirmed by a read that finds nothing")
	}
	peer.Close()
	if err := wait(t, ended); !errors.Is(err, io.EOF) {
		t.Errorf("Serve ended by %v", err)
	}
}

// A client that closes its side together with its first requests gets all replies and the end.
func TestHalfClosedAtOnce(t *testing.T) {
	for range 100 {
		c, peer := pair(t, plain)
		ended := serve(t, c)
		if _, err := peer.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "request" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := wait(t, ended); !errors.Is(err, io.EOF) {
			t.Fatalf("Serve ended by %v", err)
		}
	}
}

// After many requests CheckHalfClosed notices that the client has closed its side.
func TestHalfClosedLater(t *testing.T) {
	for range 100 {
		c, peer := pair(t, plain)
		ended := serve(t, c)
		for range 2 * confirmedReads {
			exchange(t, peer, []byte("request"))
		}
		if _, err := peer.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("last"))
		if _, err := io.ReadFull(peer, got); string(got) != "last" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		for end := time.Now().Add(waitTime); ; time.Sleep(time.Millisecond) {
			c.CheckHalfClosed()
			select {
			case err := <-ended:
				if !errors.Is(err, io.EOF) {
					t.Fatalf("Serve ended by %v", err)
				}
			default:
				if time.Now().After(end) {
					t.Fatal("Serve does not end")
				}
				continue
			}
			break
		}
	}
}

// CheckHalfClosed changes nothing for a client that has not closed its side.
func TestCheckHalfClosedOfOpenClient(t *testing.T) {
	c, peer := pair(t, plain)
	serve(t, c)
	for range 10 * confirmedReads {
		exchange(t, peer, []byte("request"))
		c.CheckHalfClosed()
	}
}

// Sever ends a Serve that waits, without waiting itself.
func TestSeverIdle(t *testing.T) {
	c, peer := pair(t, plain)
	ended := serve(t, c)
	exchange(t, peer, []byte("request"))
	c.Sever()
	if err := wait(t, ended); err == nil {
		t.Error("Serve ended without an error")
	}
	if n, err := peer.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the peer reads %d bytes, %v", n, err)
	}
}

// Sever ends a step that waits for a peer that reads nothing, and a step may sever itself.
func TestSeverWriter(t *testing.T) {
	c, peer := pair(t, plain)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Serve(func() (wait bool) {
			_, err := c.Read(make([]byte, 1))
			if errors.Is(err, ErrWait) {
				return true
			}
			for err == nil {
				err = c.WriteWithin(make([]byte, 1<<20), waitTime)
			}
			c.Sever()
			return false
		})
	}()
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	c.Sever()
	if err := wait(t, ended); err != nil {
		t.Errorf("Serve ended by %v", err)
	}
}

// A peer that reads nothing ends the write after the time-out.
func TestWriteTimesOut(t *testing.T) {
	c, peer := pair(t, plain)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var failed error
	err := c.Serve(func() (wait bool) {
		_, err := c.Read(make([]byte, 1))
		if errors.Is(err, ErrWait) {
			return true
		}
		for err == nil {
			err = c.WriteWithin(make([]byte, 1<<20), 10*time.Millisecond)
		}
		failed = err
		return false
	})
	var timeout net.Error
	if err != nil || !errors.As(failed, &timeout) || !timeout.Timeout() {
		t.Errorf("Serve: %v; write: %v", err, failed)
	}
}

// Outside of Serve a Conn reads and writes as a net.Conn, and Serve may be called again.
func TestBetweenServes(t *testing.T) {
	c, peer := pair(t, plain)
	for range 100 {
		if _, err := peer.Write([]byte("ab")); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		err := c.Serve(func() (wait bool) {
			_, err := c.Read(b[:])
			return errors.Is(err, ErrWait)
		})
		if err != nil || b[0] != 'a' {
			t.Fatalf("Serve: %q, %v", b, err)
		}
		if n, err := c.Read(b[:]); n != 1 || err != nil || b[0] != 'b' {
			t.Fatalf("Read: %d, %q, %v", n, b, err)
		}
	}
}

// slowConn is a connection whose peer takes each write slowly.
type slowConn struct {
	net.Conn
	each      time.Duration
	deadline  time.Time
	deadlines int
}

func (c *slowConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	c.deadlines++
	return nil
}

func (c *slowConn) Write(b []byte) (int, error) {
	left := time.Until(c.deadline)
	if left < c.each {
		time.Sleep(left)
		return 0, errors.New("time-out")
	}
	time.Sleep(c.each)
	return len(b), nil
}

// The time-out applies to each write, within a quarter. Fast writes do not move the deadline.
func TestDeadlineMovesRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 8 * time.Second
		slow := &slowConn{each: timeout * 3 / 4}
		c := New(slow)
		for range 10 {
			if err := c.WriteWithin([]byte("x"), timeout); err != nil {
				t.Fatal(err)
			}
		}
		slow.each = timeout + 1
		if err := c.WriteWithin([]byte("x"), timeout); err == nil {
			t.Error("a write has no time-out")
		}
		fast := &slowConn{each: timeout / 100}
		c = New(fast)
		for range 100 {
			if err := c.WriteWithin([]byte("x"), timeout); err != nil {
				t.Fatal(err)
			}
		}
		if fast.deadlines > 5 {
			t.Errorf("the deadline moved %d times", fast.deadlines)
		}
		// A shorter time-out applies at once.
		fast.each = timeout / 2
		if err := c.WriteWithin([]byte("x"), timeout/4); err == nil {
			t.Error("the former time-out applies")
		}
	})
}
