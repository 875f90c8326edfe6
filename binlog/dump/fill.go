package dump

// Fill reads the bytes that the connection has received already, without waiting for more, and
// reports whether it read any. If so, Present may return an event. Fill may return false although
// bytes are available. Next returns an error of the connection.
func (s *Stream) Fill() bool {
	if s.err != nil || s.packets.makeRoom() != nil {
		return false
	}
	n := s.conn.ReadAvailable(s.packets.buf[s.packets.w:])
	s.packets.w += n
	return n > 0
}
