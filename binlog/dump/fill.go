package dump

// Fill reads what the server has sent already, without waiting for more. It reports whether it read
// anything; then Buffered may have become true. It may return false although there is something to
// read. An error of the connection is left for Next.
func (s *Stream) Fill() bool {
	if s.err != nil || s.packets.makeRoom() != nil {
		return false
	}
	n := s.conn.ReadPresent(s.packets.buf[s.packets.w:])
	s.packets.w += n
	return n > 0
}
