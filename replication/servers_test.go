package replication_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// kinds are the servers that can follow a node.
var kinds = []servers.Kind{
	servers.Redis, servers.RedisStable, servers.RedisOldest, servers.Valkey,
	servers.ValkeyStable,
}

// upstreams are the servers that a node can follow. Redis 6.2 is missing, because it sends the
// expiry of a key as a duration.
var upstreams = []servers.Kind{
	servers.Redis, servers.RedisStable, servers.Valkey,
	servers.ValkeyStable,
}

// loadsPacked reports whether a server loads listpacks. It announces that, or the node reads it
// from the server's INFO.
func loadsPacked(kind servers.Kind) bool { return kind != servers.RedisOldest }

// attach starts a real server that follows addr and saves what it loads, so that a kill does not
// lose it.
func attach(t *testing.T, kind servers.Kind, addr string) *servers.Cache {
	t.Helper()
	return servertest.Cache(t, kind,
		servers.CacheOptions{Args: append([]string{"--save", "3600", "1"}, replicaOf(addr)...)})
}

func replicaOf(addr string) []string {
	if addr == "" {
		return nil
	}
	host, port, _ := strings.Cut(addr, ":")
	return []string{"--replicaof", host, port}
}

// field returns one field of a server's INFO, or "" on an error.
func field(c *redis.Client, section, name string) string {
	text, err := c.Info(context.Background(), section).Result()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimRight(v, "\r\n")
		}
	}
	return ""
}

// caughtUp waits until the server's link is up and its offset is the node's.
func caughtUp(t *testing.T, n *replication.Node, addr string) {
	t.Helper()
	c := client(t, addr)
	eventually(t, addr+" has all data", func() bool {
		return field(c, "replication", "master_link_status") == "up" &&
			field(c, "replication", "slave_repl_offset") == n.Offset().String() &&
			field(c, "replication", "master_replid") == n.Status().ID
	})
}

// A real server attaches, loads, streams, and continues after its link was cut, after it was
// killed, and after the node was restarted, with one full resync in all.
func TestRealReplica(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			servertest.Need(t, kind)
			c := config(t)
			n, stop := complete(t, c)
			fill(t, n, "a", 500)
			fill(t, n, "big", 1)
			for i := range 2000 { // too large for any compact encoding
				apply(t, n, unit("HSET", "wide", fmt.Sprint("f", i), strings.Repeat("x", i%100)),
					unit("SADD", "ints", fmt.Sprint(i)),
					unit("ZADD", "scores", fmt.Sprint(i), fmt.Sprint("m", i)))
			}
			srv := attach(t, kind, n.Addr())
			caughtUp(t, n, srv.Addr())
			fill(t, n, "b", 500)
			caughtUp(t, n, srv.Addr())
			equal(t, n.Addr(), srv.Addr())

			t.Log("the link is cut")
			if got := killClients(t, n.Addr(), "replica"); got != 1 {
				t.Errorf("%d links of replicas were cut", got)
			}
			fill(t, n, "c", 200)
			caughtUp(t, n, srv.Addr())
			if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
				t.Errorf("after the cut: %+v", st)
			}

			t.Log("the replica is killed")
			if err := srv.Kill(); err != nil {
				t.Fatal(err)
			}
			fill(t, n, "d", 200)
			if err := srv.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			caughtUp(t, n, srv.Addr())
			equal(t, n.Addr(), srv.Addr())
			if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 2 {
				t.Errorf("after the kill: %+v", st)
			}

			t.Log("the node is restarted")
			c.Listen = n.Addr()
			stop()
			n, _ = complete(t, c)
			fill(t, n, "e", 200)
			caughtUp(t, n, srv.Addr())
			equal(t, n.Addr(), srv.Addr())
			if st := n.Status(); st.FullSyncs != 0 || st.PartialSyncs != 1 {
				t.Errorf("after the node's restart: %+v", st)
			}
			if got := client(t, n.Addr()).Wait(t.Context(), 1, waitTimeout).Val(); got != 1 {
				t.Errorf("WAIT counts %d", got)
			}
		})
	}
}

// In the cascade node -> node -> server -> server all have the same data at the same offset under
// one id.
func TestRealCascade(t *testing.T) {
	t.Parallel()
	servertest.Need(t, kinds...)
	a, _ := complete(t, config(t))
	fill(t, a, "a", 300)
	b, _ := follow(t, a.Addr())
	online(t, b)
	first := attach(t, servers.Redis, b.Addr())
	caughtUp(t, a, first.Addr())
	valkey := attach(t, servers.Valkey, b.Addr())
	stable := attach(t, servers.RedisStable, b.Addr())
	// The last server follows a server of its own version: an older server cannot load a newer
	// one's RDB.
	second := attach(t, servers.Redis, first.Addr())
	fill(t, a, "b", 300)
	for _, s := range []*servers.Cache{first, second, valkey, stable} {
		caughtUp(t, a, s.Addr())
		equal(t, a.Addr(), s.Addr())
	}
	if st := a.Status(); st.FullSyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// A node follows a real server that follows another one, with all kinds of values and encodings. It
// continues after a cut and a restart.
func TestNodeFollowsRealServer(t *testing.T) {
	for _, kind := range upstreams {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			servertest.Need(t, kind)
			first := servertest.Cache(t, kind, servers.CacheOptions{})
			w := client(t, first.Addr())
			write := func(prefix string) {
				ctx := t.Context()
				_, err := w.TxPipelined(ctx, func(p redis.Pipeliner) error {
					for i := range 200 {
						id := fmt.Sprint(prefix, i)
						p.HSet(ctx, "h:"+id, "n", i, "s", strings.Repeat("long ", i))
						p.Set(ctx, "s:"+id, i, 0)
						p.Set(ctx, "t:"+id, strings.Repeat("compressible ", 20), time.Hour)
						p.SAdd(ctx, "set:"+prefix, i)
						p.SAdd(ctx, "words:"+prefix, id)
						p.ZAdd(ctx, "z:"+prefix, redis.Z{Score: float64(i) / 7, Member: id})
						p.HSet(ctx, "wide:"+prefix, id, i)
						p.RPush(ctx, "list:"+prefix, id, strings.Repeat("long ", i))
						p.XAdd(
							ctx,
							&redis.XAddArgs{
								Stream: "stream:" + prefix, MaxLen: 100,
								Values: []string{"id", id, "n", fmt.Sprint(i)},
							},
						)
						p.Incr(ctx, "count:"+prefix)
						p.HIncrBy(ctx, "counts:"+prefix, fmt.Sprint("f", i%7), int64(i))
					}
					p.Del(ctx, "h:"+prefix+"1")
					p.LPop(ctx, "list:"+prefix)
					p.LTrim(ctx, "list:"+prefix, 10, -10)
					p.SPop(ctx, "set:"+prefix)
					p.ZIncrBy(ctx, "z:"+prefix, 0.5, prefix+"7")
					p.Rename(ctx, "s:"+prefix+"5", "renamed:"+prefix)
					p.Copy(ctx, "h:"+prefix+"7", "copied:"+prefix, 0, true)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			write("a")
			second := servertest.Cache(t, kind, servers.CacheOptions{Args: replicaOf(first.Addr())})
			c := config(t)
			c.ReplicaOf = second.Addr()
			n, stop := start(t, c)
			online(t, n)
			write("b")
			equal(t, first.Addr(), n.Addr())

			t.Log("the link is cut")
			killClients(t, second.Addr(), "replica")
			write("c")
			equal(t, first.Addr(), n.Addr())

			t.Log("the node is restarted")
			stop()
			write("d")
			n, _ = start(t, c)
			below := attach(t, kind, n.Addr())
			equal(t, first.Addr(), n.Addr())
			equal(t, first.Addr(), below.Addr())
			s := client(t, second.Addr())
			full := field(s, "stats", "sync_full")
			ok := field(s, "stats", "sync_partial_ok")
			if full != "1" || ok != "2" {
				t.Errorf("%s full and %s partial resyncs", full, ok)
			}
			if n.Status().ID != field(w, "replication", "master_replid") {
				t.Error("ids differ")
			}
		})
	}
}

// A command or value that the node does not support stops its link with an error, and the node
// keeps its data.
func TestNodeStopsAtUnsupportedCommand(t *testing.T) {
	servertest.Need(t, servers.Redis)
	srv := servertest.Cache(t, servers.Redis, servers.CacheOptions{})
	w := client(t, srv.Addr())
	w.Set(t.Context(), "k", "v", 0)
	n, _ := follow(t, srv.Addr())
	online(t, n)
	equal(t, srv.Addr(), n.Addr())
	w.XGroupCreateMkStream(t.Context(), "x", "group", "$")
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if msg := n.Status().Upstream.Err; !strings.Contains(strings.ToUpper(msg), "XGROUP") ||
		!strings.Contains(msg, "offset") {
		t.Errorf("the error is %q", msg)
	}
	if _, ok := n.Keyspace().Get("k"); !ok {
		t.Error("the node lost its data")
	}
	w.Del(t.Context(), "x")
	w.Set(t.Context(), "k2", "v", 0)
	if err := n.ReplicaOf(t.Context(), srv.Addr()); err != nil {
		t.Fatal(err)
	}
	online(t, n)
	equal(t, srv.Addr(), n.Addr())
}

// A node follows a Redis 6.2 until that sends a duration for an expiry, which each replay would
// count from another moment. The error names the version that sends times instead.
func TestNodeFollowsOldestRedis(t *testing.T) {
	srv := servertest.Cache(t, servers.RedisOldest, servers.CacheOptions{})
	w := client(t, srv.Addr())
	w.Set(t.Context(), "k", "v", 0)
	w.HSet(t.Context(), "h", "f", strings.Repeat("v", 100))
	w.Set(t.Context(), "soon", "v", time.Hour)
	n, _ := follow(t, srv.Addr())
	online(t, n)
	w.RPush(t.Context(), "l", "a", "b")
	w.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"f", "v"}})
	equal(t, srv.Addr(), n.Addr())
	w.Expire(t.Context(), "k", time.Hour)
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if msg := n.Status().Upstream.Err; !strings.Contains(msg, "since Redis 7.0") ||
		!strings.Contains(msg, "offset") {
		t.Errorf("the error is %q", msg)
	}
	if n.Keyspace().Len() != 5 {
		t.Errorf("the node has %d keys", n.Keyspace().Len())
	}
}

// This is the procedure "A node lost its directory" of docs/operations.md: no rows are read again,
// no replica is wiped, and one full resync restores the state.
func TestStateRestoredFromReplica(t *testing.T) {
	servertest.Need(t, servers.RedisStable)
	c := config(t)
	n, stop := complete(t, c)
	fill(t, n, "a", 50)
	srv := attach(t, servers.RedisStable, n.Addr())
	caughtUp(t, n, srv.Addr())
	c.Listen = n.Addr()
	stop()
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	host, port, _ := strings.Cut(srv.Addr(), ":")
	eventually(t, "the advice is in Status", func() bool {
		advice := n.Status().Advice
		return strings.Contains(advice,
			"send it REPLICAOF NO ONE, send REPLICAOF "+host+" "+port+" here")
	})
	s, here := client(t, srv.Addr()), client(t, n.Addr())
	do := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do(s, "REPLICAOF", "NO", "ONE")
	do(here, "REPLICAOF", host, port)
	eventually(t, "the state is restored", func() bool {
		return n.Keyspace().Len() > 0 &&
			field(here, "replication", "master_link_status") == "up"
	})
	do(here, "REPLICAOF", "NO", "ONE")
	apply(t, n, unit("SET", "after", "1"))
	host, port, _ = strings.Cut(n.Addr(), ":")
	do(s, "REPLICAOF", host, port)
	caughtUp(t, n, srv.Addr())
	equal(t, n.Addr(), srv.Addr())
	if st := n.Status(); st.FullSyncs != 0 || st.PartialSyncs != 1 || st.Advice != "" {
		t.Errorf("got %+v", st)
	}
	if got := field(s, "stats", "sync_full"); got != "1" {
		t.Errorf("the replica gave %s full resyncs", got)
	}
}

// A stock server that loads from its disk for longer than the time-out comes online with the
// default settings.
func TestServersLoadSlowly(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Timeout = time.Second
			n, _ := complete(t, c)
			fill(t, n, "a", 1000)
			if _, err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			args := []string{
				"--repl-diskless-load", "disabled", "--key-load-delay", "1500",
				"--loading-process-events-interval-bytes", "1024",
			}
			srv := servertest.Cache(t, kind, servers.CacheOptions{Args: args})
			replicaFrom(t, srv, n.Addr())
			replicaOnline(t, n, srv.Addr())
			equal(t, n.Addr(), srv.Addr())
			if st := n.Status(); st.FullSyncs != 1 {
				t.Errorf("%d full resyncs", st.FullSyncs)
			}
		})
	}
}
