package replication

import (
	"net"

	"golang.org/x/sys/unix"
)

// unpace turns the kernel's pacing off for a connection within this host. The congestion control
// bbr delays every few packets by a timer, which doubles the CPU time of sending. reno does not
// pace and is part of every kernel. Where the process may not choose it, the connection stays as it
// is. Connections to other hosts keep the congestion control that the administrator chose.
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

// withinHost reports whether both ends of a TCP connection are on this host.
func withinHost(local, peer net.Addr) bool {
	l, ok := local.(*net.TCPAddr)
	p, ok2 := peer.(*net.TCPAddr)
	return ok && ok2 && (p.IP.IsLoopback() || p.IP.Equal(l.IP))
}
