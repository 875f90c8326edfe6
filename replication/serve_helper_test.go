package replication_test

import (
	"context"
	"net"
	"testing"

	"rowfall/replication"
)

// pipeFrom is one end of a connection in memory that shows ip as the address of its client.
type pipeFrom struct {
	net.Conn
	ip net.IP
}

func (f pipeFrom) RemoteAddr() net.Addr { return &net.TCPAddr{IP: f.ip, Port: 1} }

// serve starts a session for a client at the address ip. The session ends with the test.
func serve(t testing.TB, n *replication.Node, ip net.IP) (client net.Conn, ended <-chan struct{}) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Serve(ctx, pipeFrom{ours, ip})
	}()
	t.Cleanup(func() {
		cancel()
		theirs.Close()
		<-done
	})
	return theirs, done
}
