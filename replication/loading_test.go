package replication

import (
	"io"
	"net"
	"testing"
	"time"
)

// A node listens before its data are loaded. Clients that connect then get LOADING at once.
// Afterwards the listener serves as usual.
func TestAnswerLoading(t *testing.T) {
	for name, tls := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			dial := func() net.Conn {
				t.Helper()
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
				return conn
			}
			want := "-" + loadingError + "\r\n"
			if tls {
				want = ""
			}
			stop := answerLoading(l.(*net.TCPListener), tls)
			for range 3 {
				if got, err := io.ReadAll(dial()); string(got) != want || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
			stop()
			waiting := dial()
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(waiting, make([]byte, 1)); err != nil {
				t.Error(err)
			}
		})
	}
}
