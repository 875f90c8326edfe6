package replication

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Only connections within this host lose the congestion control that the system chose.
func TestUnpace(t *testing.T) {
	addr := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for _, c := range []struct {
		local, peer string
		within      bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"::1", "::1", true},
		{"::ffff:127.0.0.1", "127.0.0.2", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::2", false},
	} {
		if got := withinHost(addr(c.local), addr(c.peer)); got != c.within {
			t.Errorf("from %s to %s: %v", c.local, c.peer, got)
		}
	}
	if pipe, _ := net.Pipe(); withinHost(pipe.LocalAddr(), pipe.RemoteAddr()) {
		t.Error("a pipe counts as a TCP connection within the host")
	}
	if got := congestionControl(t); got != "reno" {
		t.Errorf("after unpace, a loopback connection has congestion control %q", got)
	}
}

// congestionControl returns the congestion control of a loopback connection after unpace.
func congestionControl(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp := conn.(*net.TCPConn)
	unpace(tcp)
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var got error
	if err := raw.Control(func(fd uintptr) {
		name, got = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return name
}
