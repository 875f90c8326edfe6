package mysql

import (
	"crypto/tls"
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
	if c.waits != nil {
		c.waits.SetImmediate(true)
		n, _ = c.net.Read(b) // TLS can be read further after a time-out
		c.waits.SetImmediate(false)
	} else if socket, ok := c.net.(syscall.Conn); ok {
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
