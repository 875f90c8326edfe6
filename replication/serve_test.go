package replication_test

import (
	"context"
	"net"
	"testing"

	"rowfall/replication"
)

// from is one end of a connection in memory, with an address for the client.
type from struct {
	net.Conn
	ip net.IP
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: f.ip, Port: 1} }

// serve starts a session for a client at this address. The session ends with the test.
func serve(t testing.TB, n *replication.Node, ip net.IP) (client net.Conn, ended <-chan struct{}) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Serve(ctx, from{ours, ip})
	}()
	t.Cleanup(func() {
		cancel()
		theirs.Close()
		<-done
	})
	return theirs, done
}
