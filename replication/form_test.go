package replication_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/resp"
)

// withStream starts a node with a stream of which an entry was deleted.
func withStream(t *testing.T) (*replication.Node, *logText) {
	t.Helper()
	c, log := config(t), &logText{}
	c.Logger = zerolog.New(log)
	n, _ := complete(t, c)
	apply(t, n, unit("XADD", "s", "1-1", "f", "v"), unit("XADD", "s", "2-1", "f", "v"),
		unit("XDEL", "s", "2-1"))
	return n, log
}

const lost = "has lost entries-added and max-deleted-entry-id"

// A Redis 7.0 announces no version, like a Redis 6.2. The node reads the version at the server's
// port. Once, the Redis 7.0 got the form for 6.2, which lacks a stream's entries-added and
// max-deleted-entry-id.
func TestStreamsOfRedis70KeepTheirHistory(t *testing.T) {
	n, log := withStream(t)
	srv := attach(t, servers.RedisStable, n.Addr())
	caughtUp(t, n, srv.Addr())
	if plain := log.count("snapshot sent", `"plain":true`); plain != 0 || log.count(lost) != 0 {
		t.Errorf("%d replicas got the form for Redis 6.2, %d warnings", plain, log.count(lost))
	}
	for _, c := range []string{n.Addr(), srv.Addr()} {
		info := client(t, c).XInfoStream(t.Context(), "s").Val()
		if info == nil || info.EntriesAdded != 2 || info.MaxDeletedEntryID != "2-1" {
			t.Errorf("%s: %+v", c, info)
		}
	}
}

// A Redis 6.2 is recognized and gets its form without a warning, because it has no such numbers.
func TestRedis62LosesNothing(t *testing.T) {
	n, log := withStream(t)
	srv := attach(t, servers.RedisOldest, n.Addr())
	caughtUp(t, n, srv.Addr())
	if plain := log.count("snapshot sent", `"plain":true`); plain != 1 || log.count(lost) != 0 {
		t.Errorf("%d replicas got the form for Redis 6.2, %d warnings", plain, log.count(lost))
	}
}

// The node sends no password to a replica that requires one. That replica gets the form for Redis
// 6.2, and the loss is logged once.
func TestLossOfStreamsIsLoggedOnce(t *testing.T) {
	n, log := withStream(t)
	srv := servertest.Cache(
		t, servers.RedisStable,
		servers.CacheOptions{
			Args: append([]string{"--requirepass", "secret"}, replicaOf(n.Addr())...),
		},
	)
	c := client(t, srv.Addr())
	if err := c.Do(t.Context(), "AUTH", "secret").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is online", func() bool {
		st := n.Status()
		return len(st.Replicas) == 1 && st.Replicas[0].State == replication.ReplicaOnline
	})
	if log.count(lost, "NOAUTH", "assume_replicas") != 1 {
		t.Error("the loss is not logged")
	}
	// Make another full resync of the same replica.
	first := n.Status().FullSyncs
	for _, words := range [][]any{
		{"REPLICAOF", "NO", "ONE"},
		{"SET", "own", "v"},
		append([]any{"REPLICAOF"}, anys(replicaOf(n.Addr())[1:])...),
	} {
		if err := c.Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "another full resync is over", func() bool {
		st := n.Status()
		return st.FullSyncs > first && len(st.Replicas) == 1 &&
			st.Replicas[0].State == replication.ReplicaOnline
	})
	if got := log.count(lost); got != 1 {
		t.Errorf("the loss is logged %d times", got)
	}
}

func anys(words []string) (all []any) {
	for _, w := range words {
		all = append(all, w)
	}
	return all
}

// fakeInfoServer is a server that sends answer as the reply to each command. sent returns the
// commands that it received.
func fakeInfoServer(t *testing.T, answer string) (port string, sent func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				r := resp.NewReader(conn, 512)
				for {
					args, _, err := r.ReadCommand()
					if err != nil {
						return
					}
					mu.Lock()
					got = append(got, fmt.Sprintf("%s", args))
					mu.Unlock()
					if _, err := conn.Write([]byte(answer)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(got, " ")
	}
}

// The node probes a waiting replica with INFO, and uses the reply only if it is certainly that of
// the replica: a Redis 6.2 that loads the packed form exits. The node connects to no other host
// than the client's own.
func TestProbeRestrictions(t *testing.T) {
	n, log := withStream(t)
	bulk := func(text string) string { return string(resp.AppendBulkString(nil, text)) }
	replica := func(version string) string {
		return bulk("redis_version:" + version + "\r\nrun_id:abc\r\nrole:slave\r\n" +
			"master_link_status:down\r\nmaster_replid:" + foreignID + "\r\n")
	}
	linked := strings.Replace(replica("7.2.4"), "down", "up", 1)
	master := strings.Replace(replica("7.2.4"), "slave", "master", 1)
	pastID := strings.Repeat("b", 40)
	for _, c := range []struct {
		name, answer, ip, id string
		plain                bool
	}{
		{name: "a replica of 7.2", answer: replica("7.2.4"), id: "?"},
		{name: "a replica of 7.2 with a replication id", answer: replica("7.2.4"), id: foreignID},
		{name: "a replica of 6.2", answer: replica("6.2.14"), id: "?", plain: true},
		{name: "a replica with another id", answer: replica("7.2.4"), id: pastID, plain: true},
		{name: "a replica with a link", answer: linked, id: "?", plain: true},
		{name: "a master", answer: master, id: "?", plain: true},
		{name: "an error", answer: "-NOAUTH Authentication required.\r\n", id: "?", plain: true},
		{name: "no RESP", answer: "HTTP/1.1 400 Bad Request\r\n", id: "?", plain: true},
		{name: "an endless answer", answer: "$100000000\r\n", id: "?", plain: true},
		{name: "silence", answer: "", id: "?", plain: true},
		{name: "another host", answer: replica("7.2.4"), ip: "127.0.0.2", id: "?", plain: true},
		{name: "its own host", answer: replica("7.2.4"), ip: "127.0.0.1", id: "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, sent := fakeInfoServer(t, c.answer)
			before := log.count("snapshot sent", `"plain":true`)
			r := dialRaw(t, n.Addr())
			r.do("REPLCONF", "listening-port", port)
			if c.ip != "" {
				r.do("REPLCONF", "ip-address", c.ip)
			}
			requestSync(r, c.id, "7", "eof", "psync2")
			payload(r)
			eventually(t, "the snapshot is sent",
				func() bool { return log.count("snapshot sent", port) == 1 })
			if plain := log.count("snapshot sent", `"plain":true`) > before; plain != c.plain {
				t.Errorf("the form for Redis 6.2: %v, want %v", plain, c.plain)
			}
			if got := sent(); c.ip == "127.0.0.2" && got != "" || strings.Contains(got, "AUTH") {
				t.Errorf("the server is sent %s", got)
			}
		})
	}
}

// A replica that got the packed form twice because of its reply, and did not come online, gets the
// plain form.
func TestFailedProbeFallsBackToPlain(t *testing.T) {
	n, log := withStream(t)
	port, _ := fakeInfoServer(
		t,
		string(
			resp.AppendBulkString(nil,
				"redis_version:7.2.4\r\nrun_id:abc\r\nrole:slave\r\nmaster_link_status:down\r\n"),
		),
	)
	for i := range 3 {
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "listening-port", port)
		requestSync(r, "?", "-1", "eof", "psync2")
		payload(r)
		eventually(t, "the snapshot is sent",
			func() bool { return log.count("snapshot sent", port) == i+1 })
		r.Close()
		eventually(t, "the replica has left", func() bool { return len(n.Status().Replicas) == 0 })
	}
	packed := log.count("snapshot sent", `"plain":false`)
	plain := log.count("snapshot sent", `"plain":true`)
	if packed != 2 || plain != 1 {
		t.Errorf("the replica got the packed form %d times and the plain form %d times",
			packed, plain)
	}
}

// A server that never announces its version gets the plain form, unless the operator sets its
// version. Servers load both forms with their strictest checks.
func TestSnapshotForServersWithoutVersion(t *testing.T) {
	servertest.Need(t, servers.RedisStable)
	for _, assume := range []string{"", "7.0"} {
		c := config(t)
		c.AssumeReplicas = assume
		n, _ := complete(t, c)
		fill(t, n, "a", 500)
		srv := servertest.Cache(
			t, servers.RedisStable,
			servers.CacheOptions{
				Args: append(replicaOf(n.Addr()), "--sanitize-dump-payload", "yes"),
			},
		)
		caughtUp(t, n, srv.Addr())
		equal(t, n.Addr(), srv.Addr())
	}
	c := config(t)
	c.AssumeReplicas = "seven"
	if _, err := replication.Open(c); err == nil {
		t.Error("an invalid version was accepted")
	}
}
