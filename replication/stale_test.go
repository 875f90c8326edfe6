package replication_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// With replica-serve-stale-data no, a replica without its upstream replies MASTERDOWN. Commands
// that an operator needs are executed. Errors that do not depend on the data come first, as in
// Redis; such commands once got MASTERDOWN, too.
func TestStaleDataIsRefused(t *testing.T) {
	a, stop := complete(t, config(t))
	apply(t, a, unit("SET", "k", "v"))
	c := config(t)
	c.ReplicaOf, c.RefuseStaleData = a.Addr(), true
	n, _ := start(t, c)
	online(t, n)
	r := dialRaw(t, n.Addr())
	if got := r.do("EXISTS", "k"); got != ":1" {
		t.Errorf("with its upstream: %q", got)
	}
	stop()
	const down = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
	eventually(t, "it knows",
		func() bool { return n.Status().Upstream.State != replication.LinkConnected })
	for _, step := range [][2]string{
		{"EXISTS k", down},
		{"PING", down},
		{"MULTI", "+OK"},
		{"GET k", down},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors."},
		{"NOSUCH k", "-ERR unknown command 'NOSUCH', with args beginning with: 'k' "},
		{"GET", "-ERR wrong number of arguments for 'get' command"},
		{"WAIT 1", "-ERR wrong number of arguments for 'wait' command"},
		{"SET k", "-ERR wrong number of arguments for 'set' command"},
		{"SET k w", "-READONLY You can't write against a read only replica."},
		{"GETEX k", "-READONLY You can't write against a read only replica."},
		{"MULTI", "+OK"},
		{"SET k w", "-READONLY You can't write against a read only replica."},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors."},
		{"SELECT 0", "+OK"},
		{"CONFIG SET replica-serve-stale-data yes", "+OK"},
		{"EXISTS k", ":1"},
		{"CONFIG SET replica-serve-stale-data no", "+OK"},
		{"EXISTS k", down},
		{"REPLICAOF NO ONE", "+OK"},
		{"EXISTS k", ":1"},
		{"PING", "+PONG"},
	} {
		if got := r.do(strings.Fields(step[0])...); got != step[1] {
			t.Errorf("%s gets %q, want %q", step[0], got, step[1])
		}
	}
}

// EXEC of commands that were queued before the link broke fails with the error of Redis. It once
// read the stale data.
func TestTransactionOutlivesItsLink(t *testing.T) {
	servertest.Need(t, servers.Redis)
	a, stop := complete(t, config(t))
	apply(t, a, unit("SET", "k", "v"))
	c := config(t)
	c.ReplicaOf, c.RefuseStaleData = a.Addr(), true
	n, _ := start(t, c)
	srv := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: append(replicaOf(a.Addr()), "--replica-serve-stale-data", "no")})
	equal(t, a.Addr(), n.Addr())
	equal(t, a.Addr(), srv.Addr())
	scripts := []struct{ before, after []string }{
		{[]string{"MULTI", "GET k"}, []string{"EXEC", "EXEC"}},
		{[]string{"MULTI", "GET k"}, []string{"GET k", "EXEC", "SELECT 0"}},
		{[]string{"MULTI", "PING"}, []string{"EXEC"}},
		{[]string{"MULTI", "SELECT 0", "SELECT 0"}, []string{"GET k", "EXEC"}},
		{[]string{"MULTI", "NOSUCH", "GET k"}, []string{"EXEC"}},
		{[]string{"MULTI", "GET k"}, []string{"DISCARD", "MULTI", "EXEC"}},
	}
	run := func(r *raw, commands []string) (replies []string) {
		for _, command := range commands {
			replies = append(replies, r.do(strings.Fields(command)...))
		}
		return replies
	}
	var ours, theirs []*raw
	for _, s := range scripts {
		ours, theirs = append(ours, dialRaw(t, n.Addr())), append(theirs, dialRaw(t, srv.Addr()))
		run(ours[len(ours)-1], s.before)
		run(theirs[len(theirs)-1], s.before)
	}
	stop()
	sc := client(t, srv.Addr())
	eventually(t, "both know", func() bool {
		return n.Status().Upstream.State != replication.LinkConnected &&
			field(sc, "replication", "master_link_status") == "down"
	})
	for i, s := range scripts {
		got, want := run(ours[i], s.after), run(theirs[i], s.after)
		if !slices.Equal(got, want) {
			t.Errorf("%q, and without the link %q: got %q, Redis says %q", s.before, s.after, got,
				want)
		}
	}
}

// During its first full resync a replica replies LOADING. During a later one it serves the old
// data, unless drop-before-resync is set.
func TestAnswersDuringFullResync(t *testing.T) {
	for name, drop := range map[string]bool{"old data serve": false, "old data dropped": true} {
		t.Run(name, func(t *testing.T) {
			up := slowUpstream(t)
			c := config(t)
			c.ReplicaOf, c.DropBeforeResync = up.addr, drop
			n, stop := start(t, c)
			up.begin()
			r := dialRaw(t, n.Addr())
			const loading = "-LOADING Redis is loading the dataset in memory"
			eventually(t, "the load began",
				func() bool { return n.Status().Upstream.State == replication.LinkTransfer })
			if got := r.do("EXISTS", "k"); got != loading {
				t.Errorf("in the first load: %q", got)
			}
			if info := client(t, n.Addr()).Info(t.Context(), "replication").Val(); !strings.Contains(
				info, "master_sync_total_bytes:",
			) ||
				!strings.Contains(info, "master_sync_in_progress:1") {
				t.Errorf("INFO says %s", info)
			}
			up.finish()
			online(t, n)
			if got := r.do("EXISTS", "k"); got != ":1" {
				t.Errorf("after the first load: %q", got)
			}
			up.forget()
			up.begin()
			eventually(t, "the second load began",
				func() bool { return n.Status().Upstream.State == replication.LinkTransfer })
			if drop {
				eventually(t, "the old data are gone",
					func() bool { return n.Keyspace().Len() == 0 })
				if got := r.do("EXISTS", "k"); got != loading {
					t.Errorf("in the second load: %q", got)
				}
				if err := n.ReplicaOf(t.Context(), ""); err == nil ||
					!strings.Contains(err.Error(), "dropped") {
					t.Errorf("an empty node is promoted: %v", err)
				}
				if _, err := n.Snapshot(t.Context()); err == nil {
					t.Error("a snapshot of nothing")
				}
				// The directory still has the old data.
				up.forget()
				stop()
				n, _ = start(t, c)
				if _, ok := n.Keyspace().Get("k"); !ok {
					t.Error("a restart does not have the old data")
				}
				return
			}
			if got := r.do("EXISTS", "k"); got != ":1" {
				t.Errorf("in the second load: %q", got)
			}
			up.finish()
			online(t, n)
		})
	}
}

// A node that is promoted during a full resync continues with its old data. Its replicas keep
// theirs, and a partial resync is enough for all nodes, including the former upstream.
func TestPromotedDuringFullResync(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 20)
	c := config(t)
	c.ReplicaOf = a.Addr()
	n, _ := start(t, c)
	online(t, n)
	below, _ := follow(t, n.Addr())
	equal(t, a.Addr(), below.Addr())
	up := slowUpstream(t)
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	up.begin()
	eventually(t, "half of it is here", func() bool {
		st := n.Status().Upstream
		return st.State == replication.LinkTransfer && st.Received > 0
	})
	if st := n.Status(); len(st.Replicas) != 1 ||
		st.Replicas[0].State != replication.ReplicaOnline ||
		st.PartialSyncs != 0 {
		t.Errorf("who is below was dropped: %+v", st)
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	apply(t, n, unit("SET", "after", "1"))
	equal(t, n.Addr(), below.Addr())
	if err := a.ReplicaOf(t.Context(), n.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, n.Addr(), a.Addr())
	if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 2 || st.PreviousID == "" ||
		!st.Complete {
		t.Errorf("got %+v", st)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "resync.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a snapshot is left: %v", err)
	}
}

// slow is an upstream that sends its snapshot in two halves.
type slow struct {
	t      *testing.T
	l      net.Listener
	addr   string
	conn   *raw
	second []byte
}

func slowUpstream(t *testing.T) *slow {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &slow{t: t, l: l, addr: l.Addr().String()}
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

// With TLS on both sides a node follows a node, and clients read.
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
	eventually(t, "it follows",
		func() bool { v, _ := b.Keyspace().Get("k"); return string(v) == "w" })
	cl := redis.NewClient(&redis.Options{Addr: a.Addr(), TLSConfig: &tls.Config{RootCAs: roots}})
	defer cl.Close()
	if got := cl.Get(t.Context(), "k").Val(); got != "w" {
		t.Errorf("a client reads %q", got)
	}
	if got := cl.Wait(t.Context(), 1, patience).Val(); got != 1 {
		t.Errorf("WAIT counts %d", got)
	}
	// A node that does not trust the certificate does not follow.
	rc = config(t)
	rc.ReplicaOf, rc.UpstreamTLS = a.Addr(), &tls.Config{RootCAs: x509.NewCertPool()}
	d, _ := start(t, rc)
	eventually(t, "it says why",
		func() bool { return strings.Contains(d.Status().Upstream.Err, "certificate") })
}

// A peer that connects and does not start the TLS handshake blocks no other client, below or above
// the limit of connections, and does not block the stop. Above the limit it once blocked the accept
// loop.
func TestSilentPeerOfTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	ask := func(addr string) (*tls.Conn, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr,
			&tls.Config{RootCAs: roots})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err = conn.Write(unit("PING")); err == nil {
			_, err = io.ReadFull(conn, make([]byte, len("+PONG\r\n")))
		}
		return conn, err
	}
	c := config(t)
	c.TLS = &tls.Config{Certificates: server.TLS.Certificates}
	c.MaxClients = 2
	n, stop := start(t, c)
	dialRaw(t, n.Addr()) // it stays silent
	second, err := ask(n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	third := dialRaw(t, n.Addr())
	if b, err := io.ReadAll(third.r); len(b) > 0 {
		t.Errorf("who is one too many is told %q, %v", b, err)
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
		t.Errorf("it may stay: %v", err)
	}
}

// After the old data were dropped for a full resync that failed, the node keeps replying LOADING.
// Once, when the next full resync could not start, the node served the empty keyspace.
func TestDroppedDataStayDropped(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		if link == 1 {
			return fullResync(5, string(unit("SET", "k", "v")))
		}
		return mute
	})
	n, _ := follow(t, up.addr)
	eventually(t, "it follows", func() bool { return has(n, "k") })
	r := dialRaw(t, n.Addr())
	_, term := n.Role()
	for i, want := range []error{nil, replication.ErrDemoted} {
		if err := n.Drop(t.Context(), term+replication.Term(i)); !errors.Is(err, want) {
			t.Fatalf("drop %d: %v", i+1, err)
		}
		r.do("CONFIG", "SET", "replica-serve-stale-data",
			"yes") // whether reads are answered is decided anew
		if got := r.do("GET", "k"); !strings.HasPrefix(got, "-LOADING") {
			t.Errorf("after drop %d a read gets %q", i+1, got)
		}
	}
}
