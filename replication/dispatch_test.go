package replication_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/resp"
)

// The owner can add commands and INFO sections. Earlier replies do not wait for a command that
// blocks. The command ends with the node.
func TestOwnersCommands(t *testing.T) {
	c := config(t)
	blocked, ended := make(chan struct{}), make(chan struct{})
	c.Commands = map[string]replication.Handler{
		"HOUSE": func(_ context.Context, dst []byte, _ int, args [][]byte) []byte {
			return resp.AppendInt(dst, int64(len(args)))
		},
		"BLOCK": func(ctx context.Context, dst []byte, _ int, _ [][]byte) []byte {
			close(blocked)
			<-ctx.Done()
			close(ended)
			return resp.AppendSimple(dst, "ENDED")
		},
	}
	c.Info = func(dst []byte) []byte { return append(dst, "# House\r\nrooms:3\r\n"...) }
	n, stop := start(t, c)
	r := dialRaw(t, n.Addr())
	if got := r.do("house", "a"); got != ":2" {
		t.Errorf("got %q", got)
	}
	info := client(t, n.Addr()).Info(t.Context(), "house")
	if got := info.Val(); got != "# House\r\nrooms:3\r\n" {
		t.Errorf("got %q", got)
	}
	if _, err := r.Write([]byte("PING\r\nBLOCK\r\n")); err != nil {
		t.Fatal(err)
	}
	r.expect("+PONG\r\n")
	<-blocked
	stop()
	<-ended
}

// A web page can make a browser send HTTP to a node on the same host. Once, the node executed
// commands in the body of such a request.
func TestHTTPIsRejected(t *testing.T) {
	n, _ := start(t, config(t))
	for _, request := range []string{
		"POST / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
	} {
		r := dialRaw(t, n.Addr())
		if _, err := r.Write([]byte(request + "\r\nREPLICAOF 127.0.0.1 1\r\n")); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.r) //nolint:errcheck // ends with the connection
		if role, _ := n.Role(); role != replication.Master {
			t.Errorf("after %q the role is %s", request, role)
		}
	}
}

// On a node without a password, a client of another host can read and follow, but change nothing.
func TestRemoteClientsCannotAdminister(t *testing.T) {
	open, _ := complete(t, config(t))
	c := config(t)
	c.Password = "secret"
	closed, _ := complete(t, c)
	for _, tc := range []struct {
		n      *replication.Node
		ip     net.IP
		denied bool
	}{
		{open, net.IPv4(192, 0, 2, 1), true},
		{open, net.ParseIP("2001:db8::1"), true},
		{open, net.IPv4(127, 0, 0, 1), false},
		{open, net.IPv6loopback, false},
		{closed, net.IPv4(192, 0, 2, 1), false},
	} {
		conn, _ := serve(t, tc.n, tc.ip)
		r := &rawConn{t, conn, newReader(conn)}
		if tc.n == closed {
			r.do("AUTH", "secret")
		}
		for _, command := range []string{
			"REPLICAOF NO ONE", "slaveof no one", "FAILOVER ABORT", "config set maxclients 9",
			"CONFIG RESETSTAT", "CONFIG REWRITE", "CLIENT KILL ID 99",
			"PSYNC " + unknownID + " 1 FAILOVER",
		} {
			got := r.do(strings.Fields(command)...)
			if strings.HasPrefix(got, "-DENIED ") != tc.denied {
				t.Errorf("%s: %s gets %q", tc.ip, command, got)
			}
		}
		for _, command := range []string{
			"PING", "GET k", "CLIENT SETNAME x", "REPLCONF capa eof", "WAIT 0 0",
		} {
			if got := r.do(strings.Fields(command)...); strings.HasPrefix(got, "-") {
				t.Errorf("%s: %s gets %q", tc.ip, command, got)
			}
		}
		if got := r.do("CONFIG", "GET", "masterauth"); (got == "*0") != tc.denied {
			t.Errorf("%s: CONFIG GET masterauth gets %q", tc.ip, got)
		}
	}
}
