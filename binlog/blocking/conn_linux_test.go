package blocking

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"rowfall/internal/testcert"
)

// wait bounds the waits of the tests.
const wait = time.Minute

// pair returns a Conn and the other end of its connection.
func pair(t *testing.T, network, address string) (*Conn, net.Conn) {
	t.Helper()
	leaveProcessors(t, 8)
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	taken, err := Take(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the old connection can still be written: %v", err)
	}
	return taken, peer
}

// leaveProcessors sets GOMAXPROCS for the time of the test.
func leaveProcessors(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// A Conn reads and writes what its peer sends and gets, and ends with EOF.
func TestReadWrite(t *testing.T) {
	for network, address := range map[string]string{
		"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s"),
	} {
		c, peer := pair(t, network, address)
		large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than the socket's buffers
		go func() { _, _ = c.Write(large) }()
		got := make([]byte, len(large))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%s: the peer read something else, %v", network, err)
		}
		go func() {
			_, _ = peer.Write([]byte("pong"))
			_ = peer.Close()
		}()
		if text, err := io.ReadAll(c); err != nil || string(text) != "pong" {
			t.Errorf("%s: read %q, %v", network, text, err)
		}
	}
}

// A deadline ends a Read that waits, whenever it is set, and Read works again after another one.
func TestDeadlines(t *testing.T) {
	c, peer := pair(t, "tcp", "127.0.0.1:0")
	b := make([]byte, 8)
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	for _, end := range []func(){
		func() { _ = c.SetReadDeadline(time.Unix(1, 0)) },
		func() { _ = c.SetReadDeadline(time.Now().Add(time.Millisecond)) },
		func() { _ = c.SetDeadline(time.Unix(1, 0)) },
	} {
		_ = c.SetDeadline(time.Time{})
		ended := make(chan error)
		go func() { _, err := c.Read(b); ended <- err }()
		for !c.reads.waiting.Load() {
			runtime.Gosched()
		}
		end()
		var timeout net.Error
		if err := <-ended; !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the error is %v", err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, _ = peer.Write([]byte("later"))
	if n, err := c.Read(b); err != nil || string(b[:n]) != "later" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write that nobody reads ends with %v", err)
	}
}

// With SetImmediate Read does not wait, but reads what is there.
func TestImmediate(t *testing.T) {
	c, peer := pair(t, "tcp", "127.0.0.1:0")
	b := make([]byte, 8)
	c.SetImmediate(true)
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	_, _ = peer.Write([]byte("now"))
	n := 0
	for deadline := time.Now().Add(wait); n == 0 && time.Now().Before(deadline); {
		n, _ = c.Read(b)
	}
	if string(b[:n]) != "now" {
		t.Errorf("read %q", b[:n])
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	_, _ = peer.Write([]byte("more"))
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline the error is %v", err)
	}
}

// Close ends calls that wait, closes the descriptors once nobody uses them, and makes room for
// another Conn.
func TestClose(t *testing.T) {
	before := descriptors(t)
	c, peer := pair(t, "tcp", "127.0.0.1:0")
	ended := make(chan error, 2)
	go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
	go func() { _, err := c.Write(make([]byte, 64<<20)); ended <- err }()
	for !c.reads.waiting.Load() || !c.writes.waiting.Load() {
		runtime.Gosched()
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the error is %v", err)
		}
	}
	for _, err := range []error{
		c.Close(), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}),
		func() error { _, err := c.Read(nil); return err }(),
		func() error { _, err := c.Write(nil); return err }(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close the error is %v", err)
		}
	}
	_ = peer.Close()
	if now := descriptors(t); now > before {
		t.Errorf("%d descriptors are open, %d before", now, before)
	}
	if n := taken.Load(); n != 0 {
		t.Errorf("%d Conns count as open", n)
	}
}

// descriptors returns the number of open sockets and eventfds.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if bytes.HasPrefix([]byte(to), []byte("socket:")) || to == "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// A process leaves one processor without a Conn. A connection that is not taken stays usable.
func TestLimit(t *testing.T) {
	c, _ := pair(t, "tcp", "127.0.0.1:0")
	leaveProcessors(t, 2)
	a, b := net.Pipe()
	if _, err := Take(a); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe is taken: %v", err)
	}
	go func() { _, _ = a.Write([]byte("x")) }()
	if n, err := b.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if _, err := Take(second); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the second of two processors is taken: %v", err)
	}
	_ = c.Close()
	again, err := Take(second)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// splitConn writes in two parts once split is set, the second one after a receive from split.
type splitConn struct {
	net.Conn
	split chan struct{}
}

func (c *splitConn) Write(b []byte) (int, error) {
	if c.split == nil {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	<-c.split
	m, err := c.Conn.Write(b[len(b)/2:])
	return n + m, err
}

// TLS over a Conn can be read further after an immediate Read found only a part of a record.
func TestTLS(t *testing.T) {
	c, peer := pair(t, "tcp", "127.0.0.1:0")
	parts := &splitConn{Conn: peer}
	server := tls.Server(parts, &tls.Config{Certificates: []tls.Certificate{testcert.New(t)}})
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test
	handshaken := make(chan error, 1)
	go func() { handshaken <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-handshaken); err != nil {
		t.Fatal(err)
	}
	const text = "a record in two parts"
	parts.split = make(chan struct{})
	go func() { _, _ = server.Write([]byte(text)) }()
	c.SetImmediate(true)
	b := make([]byte, 64)
	for range 100 { // the first part arrives meanwhile
		if n, err := client.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("half of a record is read as %q, %v", b[:n], err)
		}
		runtime.Gosched()
	}
	parts.split <- struct{}{}
	c.SetImmediate(false)
	_ = c.SetReadDeadline(time.Now().Add(wait))
	if n, err := client.Read(b); err != nil || string(b[:n]) != text {
		t.Errorf("read %q, %v", b[:n], err)
	}
}
