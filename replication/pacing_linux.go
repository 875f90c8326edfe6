package replication

import (
	"net"

	"golang.org/x/sys/unix"
)

// unpace takes the kernel's pacing off a connection that does not leave this
// host. Where the system's congestion control is bbr, a timer holds back every
// few packets, and sending costs twice the CPU. reno does not pace and is in
// every kernel; where a process may not choose it, the connection stays as it
// is. What goes over a network is paced as its administrator wants.
func unpace(conn *net.TCPConn) {
	if !withinHost(conn.LocalAddr(), conn.RemoteAddr()) {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	})
}

func withinHost(local, peer net.Addr) bool {
	l, ok := local.(*net.TCPAddr)
	p, ok2 := peer.(*net.TCPAddr)
	return ok && ok2 && (p.IP.IsLoopback() || p.IP.Equal(l.IP))
}
