package blocking

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// taken is the number of open Conns of the process.
var taken atomic.Int64

// Conn is a socket that waits in system calls. One goroutine at a time may read and one may write;
// any goroutine may call the other methods.
type Conn struct {
	fd            int
	local, remote net.Addr
	reads, writes direction
	immediate     atomic.Bool // of SetImmediate

	mu     sync.Mutex
	users  int // number of calls of Read and Write that use the descriptors
	closed atomic.Bool
}

// direction is what the waits for reading, or for writing, need.
type direction struct {
	event    int16        // of ppoll: readable or writable
	wake     int          // an eventfd that ends a wait
	deadline atomic.Int64 // in nanoseconds since 1970; 0: none
	waiting  atomic.Bool  // a wait may have to be ended by wake
	yielded  time.Time    // of the last Gosched; only the goroutine that waits uses it
}

// Take takes over the socket of c: it returns a Conn with that socket, and closes c. After an error
// c is unchanged. errors.ErrUnsupported means that c has no socket, as a TLS connection has none,
// or that only one processor of Go's scheduler has no Conn yet.
func Take(c net.Conn) (*Conn, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("take connection: %T has no socket: %w", c, errors.ErrUnsupported)
	}
	if taken.Add(1) >= int64(runtime.GOMAXPROCS(0)) {
		taken.Add(-1)
		return nil, fmt.Errorf("take connection: no processor is left: %w", errors.ErrUnsupported)
	}
	conn, err := take(socket)
	if err != nil {
		taken.Add(-1)
		return nil, fmt.Errorf("take connection: %w", err)
	}
	conn.local, conn.remote = c.LocalAddr(), c.RemoteAddr()
	_ = c.Close() // the socket stays open, because conn has another descriptor of it
	return conn, nil
}

// take returns a Conn with another descriptor of a socket.
func take(socket syscall.Conn) (*Conn, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	conn := &Conn{fd: -1}
	conn.reads.event, conn.reads.wake = unix.POLLIN, -1
	conn.writes.event, conn.writes.wake = unix.POLLOUT, -1
	control := func(fd uintptr) { conn.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }
	if e := raw.Control(control); e != nil {
		return nil, e
	}
	for _, d := range []*direction{&conn.reads, &conn.writes} {
		if err == nil {
			d.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		}
	}
	if err != nil {
		conn.closeDescriptors()
		return nil, err
	}
	return conn, nil
}

func (c *Conn) closeDescriptors() {
	for _, fd := range []int{c.fd, c.reads.wake, c.writes.wake} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// begin counts a call that uses the descriptors. It returns net.ErrClosed after Close.
func (c *Conn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	c.users++
	return nil
}

// end is the end of a call that began with begin.
func (c *Conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users--
	c.closeUnusedLocked()
}

// closeUnusedLocked closes the descriptors after Close, once no call uses them. The number of a
// descriptor that is closed earlier could be reused for another file, which the call would use.
func (c *Conn) closeUnusedLocked() {
	if c.closed.Load() && c.users == 0 {
		c.closeDescriptors()
		taken.Add(-1)
	}
}

// Close closes the connection and ends the calls that wait.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	c.closed.Store(true)
	c.reads.endWait()
	c.writes.endWait()
	c.closeUnusedLocked()
	return nil
}

// SetImmediate sets whether Read returns os.ErrDeadlineExceeded instead of waiting.
func (c *Conn) SetImmediate(on bool) { c.immediate.Store(on) }

// Read waits until bytes have arrived, and reads once.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.begin(); err != nil {
		return 0, c.fault("read", err)
	}
	defer c.end()
	immediate := c.immediate.Load()
	if c.reads.isOver() {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		if !immediate {
			if err := c.wait(&c.reads); err != nil {
				return 0, c.fault("read", err)
			}
		}
		n, err := syscall.Read(c.fd, b)
		switch {
		case err == nil && n == 0 && len(b) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case immediate && errors.Is(err, unix.EAGAIN):
			return 0, os.ErrDeadlineExceeded
		case !isTemporary(err):
			return 0, c.fault("read", os.NewSyscallError("read", err))
		}
	}
}

// Write writes all of b, or returns an error.
func (c *Conn) Write(b []byte) (written int, err error) {
	if err := c.begin(); err != nil {
		return 0, c.fault("write", err)
	}
	defer c.end()
	for written < len(b) {
		if err := c.wait(&c.writes); err != nil {
			return written, c.fault("write", err)
		}
		n, err := syscall.Write(c.fd, b[written:])
		if err == nil {
			written += n
		} else if !isTemporary(err) {
			return written, c.fault("write", os.NewSyscallError("write", err))
		}
	}
	return written, nil
}

// isTemporary reports whether a system call that failed must be repeated.
func isTemporary(err error) bool {
	return errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)
}

// wait waits until the socket is ready, the deadline has passed, or the Conn is closed.
func (c *Conn) wait(d *direction) error {
	d.yield()
	// Before the loads of closed and deadline: a change after these loads finds waiting set.
	d.waiting.Store(true)
	defer d.waiting.Store(false)
	for {
		if c.closed.Load() {
			return net.ErrClosed
		}
		var timeout *unix.Timespec
		if at := d.deadline.Load(); at != 0 {
			left := at - time.Now().UnixNano()
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			t := unix.NsecToTimespec(left)
			timeout = &t
		}
		fds := [...]unix.PollFd{
			{Fd: int32(c.fd), Events: d.event}, {Fd: int32(d.wake), Events: unix.POLLIN},
		}
		if _, err := unix.Ppoll(fds[:], timeout, nil); err != nil && !isTemporary(err) {
			return os.NewSyscallError("ppoll", err)
		}
		if fds[1].Revents != 0 {
			var count [8]byte
			_, _ = unix.Read(d.wake, count[:]) // resets the eventfd
			continue
		}
		if fds[0].Revents != 0 {
			return nil // ready, or in a state that the next call reports
		}
	}
}

// yieldAfter is the least time between two calls of Gosched. If a processor has run the same
// goroutine for 10 ms, Go's scheduler takes the processor from each of the goroutine's system calls
// at once, and wakes its monitor thread after each. Gosched begins these 10 ms again. But Gosched
// wakes another thread, so that it is not called before every wait.
const yieldAfter = 5 * time.Millisecond

// yield calls Gosched, unless it did so less than yieldAfter ago.
func (d *direction) yield() {
	if now := time.Now(); now.Sub(d.yielded) > yieldAfter {
		d.yielded = now
		runtime.Gosched()
	}
}

// isOver reports whether the deadline has passed.
func (d *direction) isOver() bool {
	at := d.deadline.Load()
	return at != 0 && at <= time.Now().UnixNano()
}

// endWait ends the present wait, if there is one. The waiting goroutine then finds the new
// deadline, or that the Conn is closed.
func (d *direction) endWait() {
	if d.waiting.Load() {
		one := [8]byte{1} // any number except 0, so the byte order does not matter
		_, _ = unix.Write(d.wake, one[:])
	}
}

func (d *direction) setDeadline(t time.Time) {
	at := int64(0)
	if !t.IsZero() {
		at = max(t.UnixNano(), 1)
	}
	d.deadline.Store(at)
	d.endWait()
}

// fault adds the addresses to an error, as net.TCPConn does.
func (c *Conn) fault(op string, err error) error {
	return &net.OpError{
		Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err,
	}
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time at which Read returns os.ErrDeadlineExceeded, also for a Read that
// waits already. The zero time means never. After Close the error is net.ErrClosed.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.reads, t) }

// SetWriteDeadline is SetReadDeadline for Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writes, t) }

func (c *Conn) setDeadline(d *direction, t time.Time) error {
	c.mu.Lock() // the descriptor of the eventfd must not be closed meanwhile
	defer c.mu.Unlock()
	if c.closed.Load() {
		return c.fault("set", net.ErrClosed)
	}
	d.setDeadline(t)
	return nil
}

// LocalAddr returns the local address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other side.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }
