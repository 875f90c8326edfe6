package replication_test

import (
	"net"
	"strings"
	"testing"
)

// slowMaster is an upstream that sends its snapshot in two halves.
type slowMaster struct {
	t      *testing.T
	l      net.Listener
	addr   string
	conn   *rawConn
	second []byte
}

// begin accepts a connection, performs the handshake and sends half a snapshot.
func (s *slowMaster) begin() {
	s.t.Helper()
	source, stop := complete(s.t, config(s.t))
	apply(s.t, source, unit("SET", "k", "v"))
	from := dialRaw(s.t, source.Addr())
	from.send("PSYNC", "?", "-1")
	head := from.reply() + "\r\n" + from.reply() + "\r\n"
	size := 0
	for _, c := range head[strings.Index(head, "$")+1:] {
		if c < '0' || c > '9' {
			break
		}
		size = 10*size + int(c-'0')
	}
	payload := make([]byte, size)
	for i := range payload {
		b, err := from.r.ReadByte()
		if err != nil {
			s.t.Fatal(err)
		}
		payload[i] = b
	}
	stop()
	conn, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	s.conn = &rawConn{s.t, conn, newReader(conn)}
	s.conn.handshake()
	if _, err := conn.Write(append([]byte(head), payload[:size/2]...)); err != nil {
		s.t.Fatal(err)
	}
	s.second = payload[size/2:]
}

// finish sends the second half.
func (s *slowMaster) finish() {
	if _, err := s.conn.Write(s.second); err != nil {
		s.t.Fatal(err)
	}
}

// disconnect closes the connection.
func (s *slowMaster) disconnect() { s.conn.Close() }

// slowUpstream starts to listen; begin accepts the connection.
func slowUpstream(t *testing.T) *slowMaster {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &slowMaster{t: t, l: l, addr: l.Addr().String()}
}
