package clientconn

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrWait is returned by Read within Serve when no bytes have arrived. The step function then
// returns true.
var ErrWait = errors.New("no bytes have arrived")

// Conn is a client's connection. Its session's goroutine reads, writes and closes it. Other
// goroutines may only read its addresses, and call Sever and CheckHalfClosed.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil: every call goes to Conn

	fd       int  // within Serve, if raw is set; otherwise -1
	drained  bool // the last read of this step emptied the socket
	answered bool // a whole reply was written after that read
	reads    int  // reads that returned bytes, up to confirmedReads

	severed     atomic.Bool
	unconfirmed atomic.Bool // Serve waits without a read that found nothing; for CheckHalfClosed
	deadline    time.Time   // the write deadline of the embedded Conn
}

// confirmedReads is the number of first reads of a connection after each of which another read
// confirms that nothing follows. So the end of a client that sends a few commands and closes its
// side at once is noticed at once. For other clients CheckHalfClosed notices such an end.
const confirmedReads = 16

// New returns a Conn on conn.
func New(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, fd: -1}
	if tcp, ok := conn.(*net.TCPConn); ok && isEdgeTriggered {
		c.raw, _ = tcp.SyscallConn() // without it, every call goes to Conn
	}
	return c
}

// Serve calls step when bytes may have arrived, until step returns false or the connection is
// closed. step reads until Read returns ErrWait and then returns true.
func (c *Conn) Serve(step func() (wait bool)) error {
	if c.raw == nil {
		for step() {
		}
		return nil
	}
	defer func() { c.fd = -1 }()
	return c.raw.Read(func(fd uintptr) (done bool) {
		c.fd, c.drained = int(fd), false
		return !step()
	})
}

// Read reads bytes. Within Serve it does not wait, but returns ErrWait, if c reads plain TCP.
func (c *Conn) Read(p []byte) (int, error) {
	if c.fd < 0 {
		return c.Conn.Read(p)
	}
	if c.severed.Load() {
		return 0, net.ErrClosed
	}
	if c.drained && c.answered && c.reads == confirmedReads {
		if !c.unconfirmed.Load() {
			c.unconfirmed.Store(true)
		}
		return 0, ErrWait
	}
	n, err := read(c.fd, p)
	if n > 0 {
		// A read that does not fill p has emptied the socket, and the next byte wakes Serve. Only
		// the end of the stream may already have arrived together with the bytes.
		c.drained, c.answered = n < len(p), false
		c.reads = min(c.reads+1, confirmedReads)
	}
	return n, err
}

// WriteWithin writes p. It returns an error if the peer does not take p within the time-out, or
// within a shorter time of at least three quarters of the time-out.
func (c *Conn) WriteWithin(p []byte, timeout time.Duration) error {
	if c.fd >= 0 {
		n, err := write(c.fd, p)
		if err != nil {
			return err
		}
		c.answered = true
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
	// To set the deadline for every reply would cost more than a small reply does.
	now := time.Now()
	if left := c.deadline.Sub(now); left < timeout-timeout/4 || left > timeout {
		c.deadline = now.Add(timeout)
		if err := c.SetWriteDeadline(c.deadline); err != nil {
			return err
		}
	}
	_, err := c.Write(p)
	return err
}

// Sever ends the connection: reads and writes fail from now on. Any goroutine may call it. It does
// not wait for the session, and sends no TLS close alert, for which it would have to wait on a
// stuck peer.
func (c *Conn) Sever() {
	if c.raw == nil {
		c.Socket().Close()
		return
	}
	c.severed.Store(true)
	tcp := c.Conn.(*net.TCPConn)
	_ = tcp.CloseRead() // an error means that the connection is closed
	_ = tcp.CloseWrite()
}

// CheckHalfClosed makes Serve notice that the client has closed its side of the connection, if the
// client did so together with its last request. The owner of the connections calls it for each of
// them from time to time, on any goroutine.
func (c *Conn) CheckHalfClosed() {
	if !c.unconfirmed.Load() || !c.unconfirmed.Swap(false) {
		return
	}
	ended := false
	err := c.raw.Control(func(fd uintptr) { ended = atEnd(int(fd)) })
	if ended && err == nil {
		_ = c.Conn.(*net.TCPConn).CloseRead() // wakes Serve
	}
}

// Socket returns the connection below TLS, or the connection itself.
func (c *Conn) Socket() net.Conn {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.Conn
}
