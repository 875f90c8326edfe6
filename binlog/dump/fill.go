package dump

import "syscall"

// Fill reads what the server has sent already, without waiting for more. It reports whether it read
// anything; then Buffered may have become true. It may return false although there is something to
// read. An error of the connection is left for Next.
func (s *Stream) Fill() bool {
	if s.err != nil || s.packets.makeRoom() != nil {
		return false
	}
	n := 0
	if s.blocking != nil {
		s.blocking.SetImmediate(true)
		n, _ = s.net.Read(s.packets.buf[s.packets.w:]) // TLS can be read further after a time-out
		s.blocking.SetImmediate(false)
	} else if socket, ok := s.net.(syscall.Conn); ok {
		n = readPresent(socket, s.packets.buf[s.packets.w:])
	}
	if n <= 0 {
		return false
	}
	s.packets.w += n
	return true
}

// readPresent reads once from a socket, without waiting. It returns 0 if there is nothing to read.
func readPresent(socket syscall.Conn, b []byte) (n int) {
	c, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	// The function returns true, so that Read does not wait. After Wake the deadline lies in the
	// past, and Read does not call the function.
	_ = c.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), b)
		return true
	})
	return n
}
