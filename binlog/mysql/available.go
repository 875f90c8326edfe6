package mysql

import (
	"crypto/tls"
	"net"
	"syscall"

	"rowfall/binlog/blocking"
)

// WaitInKernel makes reads of NetConn wait in system calls, as package blocking does. Where that is
// not possible, nothing changes. NetConn returns another connection afterwards. Call WaitInKernel
// after Command, and before another goroutine uses NetConn or Close.
func (c *Conn) WaitInKernel() {
	inner := &c.net
	if t, ok := c.net.(*tls.Conn); ok {
		greeted, ok := t.NetConn().(*greetedConn)
		if !ok {
			return
		}
		inner = &greeted.Conn
	}
	taken, err := blocking.Take(*inner)
	if err != nil {
		return
	}
	*inner, c.waits = taken, taken
	c.timed.Conn = c.net
}

// ReadAvailable reads the bytes that NetConn has received already, without waiting for more, and
// returns their number. It may return 0 although bytes are available, and returns 0 after an error,
// which the next read of NetConn returns.
func (c *Conn) ReadAvailable(b []byte) (n int) {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return c.readNow(c.net, b)
	}
	greeted, ok := t.NetConn().(*greetedConn)
	if !ok {
		return 0
	}
	greeted.immediate = c
	defer func() { greeted.immediate = nil }()
	// A read of TLS returns one record, and a server sends many small ones.
	for n < len(b) {
		m, _ := t.Read(b[n:])
		if m <= 0 {
			break
		}
		n += m
	}
	return n
}

// readNow reads once from the socket of c, which conn is, without waiting.
func (c *Conn) readNow(conn net.Conn, b []byte) (n int) {
	if c.waits != nil {
		c.waits.SetImmediate(true)
		n, _ = c.waits.Read(b)
		c.waits.SetImmediate(false)
	} else if socket, ok := conn.(syscall.Conn); ok {
		n = readSocket(socket, b)
	}
	return max(n, 0)
}

// readSocket reads once from a socket, without waiting.
func readSocket(socket syscall.Conn, b []byte) (n int) {
	c, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	// The function returns true, so that Read does not wait. If the read deadline has passed, Read
	// does not call the function.
	_ = c.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), b)
		return true
	})
	return n
}
