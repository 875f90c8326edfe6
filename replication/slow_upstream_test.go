package replication_test

import (
	"net"
	"strings"
	"testing"
)

// slow is an upstream that sends its snapshot in two halves.
type slow struct {
	t      *testing.T
	l      net.Listener
	addr   string
	conn   *raw
	second []byte
}

// begin accepts a connection, performs the handshake and sends half a snapshot.
func (s *slow) begin() {
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
	s.conn = &raw{s.t, conn, newReader(conn)}
	s.conn.handshake()
	if _, err := conn.Write(append([]byte(head), payload[:size/2]...)); err != nil {
		s.t.Fatal(err)
	}
	s.second = payload[size/2:]
}

func (s *slow) finish() {
	if _, err := s.conn.Write(s.second); err != nil {
		s.t.Fatal(err)
	}
}

// forget closes the connection.
func (s *slow) forget() { s.conn.Close() }

func slowUpstream(t *testing.T) *slow {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &slow{t: t, l: l, addr: l.Addr().String()}
}
