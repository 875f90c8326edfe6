package replication_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/stream"
)

// long says whether the long matrices run, too.
var long = os.Getenv("ROWFALL_LONG") == "1"

// writing keeps writing to a node until stop is called.
func writing(t *testing.T, n *replication.Node) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	_, term := n.Role()
	wg.Go(func() {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for i := 0; ; i++ {
			id := strconv.Itoa(i % 500)
			for _, u := range [][]byte{
				atomically(unit("HSET", "live:"+id, "n", strconv.Itoa(i)), unit("SADD", "live", id)),
				unit("DEL", "live:"+strconv.Itoa(i*7%500)),
			} {
				if _, err := n.Apply(context.Background(), term, u); err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-pause.C:
			case <-done:
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// Three replicas at once, with writes going on, in both ways of loading, from a
// file that grows under their eyes and from one that was there.
func TestThreeReplicasAtOnce(t *testing.T) {
	servertest.Need(t, kinds...)
	for _, load := range []string{"disabled", "swapdb"} {
		for _, there := range []bool{false, true} {
			if there != (load == "swapdb") && !long {
				continue
			}
			t.Run(fmt.Sprintf("load %s, file there %v", load, there), func(t *testing.T) {
				n, _ := complete(t, config(t))
				fill(t, n, "a", 1000)
				if there {
					if _, err := n.Snapshot(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				stop := writing(t, n)
				var replicas []*servers.Cache
				for _, kind := range kinds {
					args := append(replicaOf(n.Addr()), "--repl-diskless-load", load)
					if kind == servers.Valkey {
						args = append(args, "--dual-channel-replication-enabled", "yes")
					}
					replicas = append(replicas, servertest.Cache(t, kind, servers.CacheOptions{Args: args}))
				}
				for _, r := range replicas {
					c := client(t, r.Addr())
					eventually(t, "the link is up", func() bool { return field(c, "replication", "master_link_status") == "up" })
				}
				stop()
				for _, r := range replicas {
					caughtUp(t, n, r.Addr())
					equal(t, n.Addr(), r.Addr())
				}
				if st := n.Status(); st.FullSyncs != 3 || st.Snapshot.Written != 1 {
					t.Errorf("%d full resyncs from %d snapshots", st.FullSyncs, st.Snapshot.Written)
				}
			})
		}
	}
}

// A server of a version that never tells it gets a plain copy, unless the
// operator answers for it; both load under the strictest checks.
func TestSnapshotForServersThatDoNotTell(t *testing.T) {
	servertest.Need(t, servers.RedisStable)
	for _, assume := range []string{"", "7.0"} {
		c := config(t)
		c.AssumeReplicas = assume
		n, _ := complete(t, c)
		fill(t, n, "a", 500)
		srv := servertest.Cache(t, servers.RedisStable, servers.CacheOptions{Args: append(replicaOf(n.Addr()), "--sanitize-dump-payload", "yes")})
		caughtUp(t, n, srv.Addr())
		equal(t, n.Addr(), srv.Addr())
	}
	c := config(t)
	c.AssumeReplicas = "seven"
	if _, err := replication.Open(c); err == nil {
		t.Error("a version that is none was taken")
	}
}

// The servers' own tools: redis-cli --rdb makes a file that their checkers pass,
// with and without a snapshot being there, and redis-cli --replica shows the stream.
func TestServersTools(t *testing.T) {
	in := servertest.Need(t, kinds...)
	conf := config(t)
	dir := conf.Dir
	n, _ := complete(t, conf)
	fill(t, n, "a", 500)
	port := strings.TrimPrefix(n.Addr(), "127.0.0.1:")
	tool := func(kind servers.Kind, name string, args ...string) *exec.Cmd {
		cmd, err := in.Command(t.Context(), kind, name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for _, kind := range kinds {
		prefix := "redis"
		if kind == servers.Valkey {
			prefix = "valkey"
		}
		file := filepath.Join(t.TempDir(), "dump.rdb")
		if out, err := tool(kind, prefix+"-cli", "-p", port, "--rdb", file).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", kind, err, out)
		}
		eventually(t, "the snapshot is complete", func() bool { return n.Status().Snapshot.Written == 1 })
		for _, f := range []string{file, snapshotsIn(t, dir)[0]} {
			out, err := tool(kind, prefix+"-check-rdb", f).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "RDB looks OK") {
				t.Errorf("%s does not take the file: %v: %s", kind, err, out)
			}
		}
	}
	cmd := tool(servers.Redis, "redis-cli", "-p", port, "--replica")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows", func() bool {
		st := n.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "seen", "by redis-cli"))
	seen := ""
	for b := make([]byte, 4096); !strings.Contains(seen, "by redis-cli"); {
		k, err := out.Read(b)
		if err != nil {
			t.Fatalf("it ended with %v after %q", err, seen)
		}
		seen += string(b[:k])
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// The conditions of Redis's replication-psync: what a replica that was away gets
// depends on what the log still holds, and not on how long it was away.
func TestReplicaThatWasAway(t *testing.T) {
	servertest.Need(t, servers.Redis)
	for _, c := range []struct {
		name     string
		memory   int64
		keep     int64
		written  int // kilobytes while it is away
		partials int64
		fulls    int64
	}{
		{"nothing was written", 1 << 20, 1 << 30, 0, 1, 1},
		{"what was written is in memory", 1 << 20, 1 << 30, 200, 1, 1},
		{"no memory at all: it is on disk", 1, 1 << 30, 500, 1, 1},
		{"far more than memory was written", 64 << 10, 1 << 30, 3000, 1, 1},
		{"the log has let it go", 64 << 10, 128 << 10, 3000, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config(t)
			conf.Log = stream.Config{Memory: c.memory, SegmentSize: 64 << 10, Keep: c.keep}
			n, _ := complete(t, conf)
			fill(t, n, "a", 200)
			srv := attach(t, servers.Redis, n.Addr())
			caughtUp(t, n, srv.Addr())
			// It hangs, and its connection is gone.
			if err := srv.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			client(t, n.Addr()).ClientKillByFilter(t.Context(), "TYPE", "replica")
			for i := range c.written {
				apply(t, n, unit("SET", "away:"+strconv.Itoa(i%100), strings.Repeat("x", 1000)))
			}
			if c.fulls > 1 {
				from := n.Status().LogStart
				if _, err := n.Snapshot(t.Context()); err != nil { // a restart does not need it any more either
					t.Fatal(err)
				}
				apply(t, n, unit("SET", "k", strings.Repeat("x", 200_000)))
				eventually(t, "the log is let go", func() bool { return n.Status().LogStart > from })
			}
			if err := srv.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			caughtUp(t, n, srv.Addr())
			equal(t, n.Addr(), srv.Addr())
			if st := n.Status(); st.PartialSyncs != c.partials || st.FullSyncs != c.fulls {
				t.Errorf("%d partial and %d full resyncs, want %d and %d", st.PartialSyncs, st.FullSyncs, c.partials, c.fulls)
			}
		})
	}
}

// A replica that hangs with its connection open keeps nothing: the others go on,
// and it goes on from disk.
func TestHangingReplica(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	conf := config(t)
	conf.Log = stream.Config{Memory: 64 << 10, SegmentSize: 256 << 10}
	n, _ := complete(t, conf)
	fill(t, n, "a", 200)
	hangs, works := attach(t, servers.Redis, n.Addr()), attach(t, servers.Valkey, n.Addr())
	caughtUp(t, n, hangs.Addr())
	caughtUp(t, n, works.Addr())
	if err := hangs.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	big(t, n, 24) // more than sockets hold
	caughtUp(t, n, works.Addr())
	if err := hangs.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, n, hangs.Addr())
	equal(t, n.Addr(), hangs.Addr())
	if st := n.Status(); st.FullSyncs != 2 || st.PartialSyncs != 0 {
		t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
	}
}

// proxy passes connections on to addr, each for at most as many bytes towards
// the one who connects as limit says; the bytes of the last are counted.
type proxy struct {
	net.Listener
	limit  atomic.Int64
	passed atomic.Int64
	wg     sync.WaitGroup
}

func newProxy(t *testing.T, addr string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	p.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			p.wg.Go(func() { _, _ = io.Copy(out, in); out.Close(); in.Close() })
			p.wg.Go(func() {
				passed, _ := io.CopyN(in, out, p.limit.Load())
				p.passed.Store(passed)
				out.Close()
				in.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

// A full resync cut off anywhere leaves the replica what it had, and the next one
// comes through.
func TestFullResyncCutAnywhere(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "new", 60)
	if _, err := a.Snapshot(t.Context()); err != nil { // so that all of them get the same bytes
		t.Fatal(err)
	}
	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	p := newProxy(t, a.Addr())
	p.limit.Store(1 << 40)
	whole, stop := follow(t, p.Addr().String())
	online(t, whole)
	stop()
	total := p.passed.Load()
	step := total / 12
	if long {
		step = max(total/400, 1)
	}
	for cut := int64(1); cut < total; cut += step {
		b, stopB := follow(t, old.Addr())
		online(t, b)
		p.limit.Store(cut)
		p.passed.Store(0)
		if err := b.ReplicaOf(t.Context(), p.Addr().String()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is cut", func() bool { return p.passed.Load() == cut })
		if st := b.Status(); b.Keyspace().Len() != old.Keyspace().Len() && b.Keyspace().Len() != a.Keyspace().Len() {
			t.Fatalf("after a cut at byte %d it holds %d keys: %+v", cut, b.Keyspace().Len(), st)
		}
		p.limit.Store(1 << 40)
		equal(t, a.Addr(), b.Addr())
		stopB()
	}
}

// The same with a real server, in both ways of loading; while it loads it keeps
// what it has.
func TestServersFullResyncCutAnywhere(t *testing.T) {
	servertest.Need(t, servers.Redis)
	cuts := []int64{100, 30_000, 250_000}
	if long {
		cuts = []int64{1, 20, 60, 100, 130, 200, 5000, 30_000, 100_000, 250_000, 300_000}
	}
	for _, load := range []string{"disabled", "swapdb"} {
		for _, cut := range cuts {
			t.Run(fmt.Sprintf("load %s, %d bytes", load, cut), func(t *testing.T) {
				t.Parallel()
				n, _ := complete(t, config(t))
				fill(t, n, "a", 3000)
				p := newProxy(t, n.Addr())
				p.limit.Store(cut)
				srv := servertest.Cache(t, servers.Redis, servers.CacheOptions{Args: append(replicaOf(p.Addr().String()), "--repl-diskless-load", load)})
				eventually(t, "it is cut", func() bool { return p.passed.Load() == cut })
				p.limit.Store(1 << 40)
				caughtUp(t, n, srv.Addr())
				equal(t, n.Addr(), srv.Addr())
				client(t, srv.Addr()).Do(t.Context(), "REPLICAOF", "NO", "ONE")
			})
		}
	}
}
