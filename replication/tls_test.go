package replication_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// With TLS on both sides, a node follows another, and clients read.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := config(t)
	c.TLS = &tls.Config{Certificates: server.TLS.Certificates}
	a, _ := complete(t, c)
	apply(t, a, unit("SET", "k", "v"))
	rc := config(t)
	rc.ReplicaOf, rc.UpstreamTLS = a.Addr(), &tls.Config{RootCAs: roots}
	b, _ := start(t, rc)
	online(t, b)
	apply(t, a, unit("SET", "k", "w"))
	eventually(t, "the replica follows",
		func() bool { v, _ := b.Keyspace().Get("k"); return string(v) == "w" })
	cl := redis.NewClient(&redis.Options{Addr: a.Addr(), TLSConfig: &tls.Config{RootCAs: roots}})
	defer cl.Close()
	if got := cl.Get(t.Context(), "k").Val(); got != "w" {
		t.Errorf("a client reads %q", got)
	}
	if got := cl.Wait(t.Context(), 1, waitTimeout).Val(); got != 1 {
		t.Errorf("WAIT counts %d", got)
	}
	// A node that does not trust the certificate does not follow.
	rc = config(t)
	rc.ReplicaOf, rc.UpstreamTLS = a.Addr(), &tls.Config{RootCAs: x509.NewCertPool()}
	d, _ := start(t, rc)
	eventually(t, "the error names the certificate",
		func() bool { return strings.Contains(d.Status().Upstream.Err, "certificate") })
}

// A peer that connects and does not start the TLS handshake blocks no other client, below or above
// the limit of connections, and does not block the stop. Once, above the limit, it blocked the
// accept loop.
func TestSilentPeerOfTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	ask := func(addr string) (*tls.Conn, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: waitTimeout}, "tcp", addr,
			&tls.Config{RootCAs: roots})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(waitTimeout))
		if _, err = conn.Write(unit("PING")); err == nil {
			_, err = io.ReadFull(conn, make([]byte, len("+PONG\r\n")))
		}
		return conn, err
	}
	c := config(t)
	c.TLS = &tls.Config{Certificates: server.TLS.Certificates}
	c.MaxClients = 2
	n, stop := start(t, c)
	dialRaw(t, n.Addr()) // this client stays silent
	second, err := ask(n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	third := dialRaw(t, n.Addr())
	if b, err := io.ReadAll(third.r); len(b) > 0 {
		t.Errorf("the client above the limit gets %q, %v", b, err)
	}
	second.Close()
	eventually(t, "the next one is served",
		func() bool { _, err := ask(n.Addr()); return err == nil })
	stop()

	c = config(t)
	c.TLS = &tls.Config{Certificates: server.TLS.Certificates}
	c.Timeout = 50 * time.Millisecond
	n, _ = start(t, c)
	silent := dialRaw(t, n.Addr())
	if _, err := silent.r.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Errorf("the silent client is still connected: %v", err)
	}
}
