package replication_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

const (
	large = 16      // megabytes of data: more than all sockets on the way hold
	part  = 4 << 20 // bytes of a snapshot after which it is held
)

// waitSending waits until that many replicas are being sent a snapshot at once.
func waitSending(t *testing.T, n *replication.Node, want int) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " replicas in transfer"), func() bool {
		count := 0
		for _, r := range n.Status().Replicas {
			if r.State == replication.ReplicaSending {
				count++
			}
		}
		return count == want
	})
}

// replicaFrom makes a real server follow addr.
func replicaFrom(t *testing.T, srv *servers.Cache, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	if err := client(t, srv.Addr()).Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
}

// A replica of each kind loads at once, under writes, in both ways of loading, from an existing
// file ("disk": its length comes first) and from a growing one ("diskless": it ends with a mark). A
// proxy holds each after its first megabyte until all have started.
func TestReplicasAtOnce(t *testing.T) {
	kinds := kinds
	if !long {
		kinds = []servers.Kind{servers.Redis, servers.RedisOldest, servers.Valkey}
	}
	servertest.Need(t, kinds...)
	for _, load := range []string{"disabled", "swapdb"} {
		t.Run("load "+load, func(t *testing.T) {
			t.Parallel()
			var replicas []*servers.Cache
			for _, kind := range kinds {
				args := []string{"--repl-diskless-load", load}
				if kind.Tool("server") == "valkey-server" {
					args = append(args, "--dual-channel-replication-enabled", "yes")
				}
				replicas = append(replicas,
					servertest.Cache(t, kind, servers.CacheOptions{Args: args}))
			}
			for _, growing := range []bool{false, true} {
				t.Run(map[bool]string{false: "disk", true: "diskless"}[growing],
					func(t *testing.T) { allAtOnce(t, replicas, growing) })
			}
		})
	}
}

func allAtOnce(t *testing.T, replicas []*servers.Cache, growing bool) {
	n, gate := startHeld(t)
	if !growing {
		close(gate)
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop := startWriting(t, n)
	var proxies []*proxy
	for _, srv := range replicas {
		p := newProxy(t, n.Addr(), 1<<20)
		proxies = append(proxies, p)
		replicaFrom(t, srv, p.addr())
	}
	for i, p := range proxies {
		// A Redis 6.2 gets the plain form, whose length is known only at its end.
		marked := growing || !loadsPacked(replicas[i].Kind())
		if <-p.held; p.marked() != marked {
			t.Errorf("%s gets a mark: %v", replicas[i].Kind(), !marked)
		}
	}
	waitSending(t, n, len(replicas))
	at := n.Offset()
	eventually(t, "writing continues", func() bool { return n.Offset() > at })
	waitSending(t, n, len(replicas))
	if growing {
		close(gate)
	}
	for _, p := range proxies {
		p.release()
	}
	for _, srv := range replicas {
		c := client(t, srv.Addr())
		eventually(t, "the link is up",
			func() bool { return field(c, "replication", "master_link_status") == "up" })
	}
	stop()
	for _, srv := range replicas {
		caughtUp(t, n, srv.Addr())
		equal(t, n.Addr(), srv.Addr())
	}
	if st := n.Status(); st.FullSyncs != int64(len(replicas)) || st.PartialSyncs != 0 ||
		st.Snapshot.Written != 1 {
		t.Errorf("%d full and %d partial resyncs from %d snapshots", st.FullSyncs, st.PartialSyncs,
			st.Snapshot.Written)
	}
}

// A replica that is dropped during the transfer reconnects and reads the same growing file. The
// other replicas are not affected.
func TestDroppedInMidTransfer(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	n, gate := startHeld(t)
	stop := startWriting(t, n)
	p := newProxy(t, n.Addr(), 1<<20)
	dropped := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: []string{"--repl-diskless-load", "swapdb"}})
	stays := servertest.Cache(t, servers.Valkey, servers.CacheOptions{})
	replicaFrom(t, dropped, p.addr())
	replicaFrom(t, stays, n.Addr())
	ours, _ := follow(t, n.Addr())
	<-p.held
	waitSending(t, n, 3)
	p.release()
	p.cut()
	eventually(t, "the replica reconnects", func() bool { return n.Status().FullSyncs == 4 })
	waitSending(t, n, 3)
	close(gate)
	for _, addr := range []string{ours.Addr(), stays.Addr(), dropped.Addr()} {
		c := client(t, addr)
		eventually(t, "the link is up",
			func() bool { return field(c, "replication", "master_link_status") == "up" })
	}
	stop()
	for _, addr := range []string{ours.Addr(), stays.Addr(), dropped.Addr()} {
		equal(t, n.Addr(), addr)
	}
	if st := n.Status(); st.FullSyncs != 4 || st.PartialSyncs != 0 || st.Snapshot.Written != 1 {
		t.Errorf("%d full and %d partial resyncs from %d snapshots", st.FullSyncs, st.PartialSyncs,
			st.Snapshot.Written)
	}
}

// A snapshot that fails while it is read is never taken for a complete one: its readers keep their
// data and get the next snapshot.
func TestSnapshotFailsUnderReaders(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	n, gate := startHeld(t)
	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	p := newProxy(t, n.Addr(), 0)
	ours, _ := follow(t, old.Addr())
	swaps := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: append(replicaOf(old.Addr()), "--repl-diskless-load", "swapdb")})
	loads := servertest.Cache(t, servers.Valkey, servers.CacheOptions{Args: replicaOf(old.Addr())})
	readers := []string{ours.Addr(), swaps.Addr(), loads.Addr()}
	for _, addr := range readers {
		equal(t, old.Addr(), addr)
	}
	for _, srv := range []*servers.Cache{swaps, loads} {
		replicaFrom(t, srv, p.addr())
	}
	if err := ours.ReplicaOf(t.Context(), p.addr()); err != nil {
		t.Fatal(err)
	}
	waitSending(t, n, 3)
	p.limit.Store(0) // reconnects fail
	gate <- errors.New("this disk is broken")
	eventually(t, "all are cut off", func() bool { return len(n.Status().Replicas) == 0 })
	for _, addr := range readers {
		equal(t, old.Addr(), addr)
	}
	if st := n.Status().Snapshot; st.Written != 0 ||
		!strings.Contains(st.Err, "this disk is broken") {
		t.Errorf("the snapshot is %+v", st)
	}
	close(gate)
	p.limit.Store(1 << 40)
	for _, addr := range readers {
		equal(t, n.Addr(), addr)
	}
	if st := n.Status(); st.Snapshot.Written != 1 || st.Snapshot.Err != "" {
		t.Errorf("after it: %+v", st.Snapshot)
	}
}

// A full resync that is cut at any byte leaves the replica its old data, and the next one succeeds.
// That holds for both framings, that is, for an existing and for a growing file.
func TestFullResyncCutAnywhere(t *testing.T) {
	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	for _, marked := range []bool{false, true} {
		t.Run(fmt.Sprintf("marked %v", marked), func(t *testing.T) {
			c := config(t)
			if marked {
				c.SnapshotReuse = 1 // a new snapshot for each resync
			}
			a, err := replication.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			var wait atomic.Bool // the next snapshot grows until a replica reads it
			a.BeforeSnapshots(func() {
				for wait.Load() {
					time.Sleep(time.Millisecond)
				}
			})
			run(t, a)
			a.SetComplete(true)
			fill(t, a, "new", 60)
			if !marked {
				if _, err := a.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			p := newProxy(t, a.Addr(), 0)
			resync := func(b *replication.Node) {
				t.Helper()
				defer wait.Store(false)
				if marked {
					wait.Store(true)
					apply(t, a, unit("SET", "now", "another"))
				}
				p.passed.Store(0)
				if err := b.ReplicaOf(t.Context(), p.addr()); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the snapshot is sent or cut", func() bool {
					st := a.Status().Replicas
					return len(st) == 1 && st[0].State >= replication.ReplicaSending ||
						p.passed.Load() > 0
				})
			}
			uncut, stop := follow(t, old.Addr())
			online(t, uncut)
			resync(uncut)
			equal(t, a.Addr(), uncut.Addr())
			if p.marked() != marked {
				t.Fatalf("the snapshot had a mark: %v", !marked)
			}
			stop()
			// The file is sent after the handshake: a cut after so many bytes loses the file's end.
			size := a.Status().Snapshot.Size
			eventually(t, "the connection is counted",
				func() bool { return p.passed.Load() > size })
			total := p.passed.Load()
			step := total / 12
			if long {
				step = max(total/400, 1)
			}
			cuts := 0
			for cut := int64(1); cut < total; cut += step {
				b, stopB := follow(t, old.Addr())
				equal(t, old.Addr(), b.Addr())
				p.limit.Store(cut)
				resync(b)
				eventually(t, "the connection is cut",
					func() bool { return p.passed.Load() == cut })
				if cut <= size {
					cuts++
					if keys := b.Keyspace().Len(); keys != old.Keyspace().Len() {
						t.Fatalf("after a cut at byte %d it holds %d keys: %+v", cut, keys,
							b.Status())
					}
				}
				p.limit.Store(1 << 40)
				equal(t, a.Addr(), b.Addr())
				stopB()
			}
			if cuts < 5 {
				t.Errorf("%d cuts of %d bytes", cuts, size)
			}
		})
	}
}

// A full resync of a real server is cut, in both ways of loading.
func TestServersFullResyncCutAnywhere(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	cuts := []int64{100, 10_000, 80_000}
	if long {
		cuts = []int64{1, 20, 60, 100, 130, 200, 2000, 10_000, 40_000, 60_000, 80_000}
	}
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		for _, load := range []string{"disabled", "swapdb"} {
			t.Run(fmt.Sprintf("%s, load %s", kind, load), func(t *testing.T) {
				t.Parallel()
				n, _ := complete(t, config(t))
				fill(t, n, "a", 1000)
				old, _ := complete(t, config(t))
				fill(t, old, "old", 20)
				p := newProxy(t, n.Addr(), 0)
				srv := servertest.Cache(t, kind,
					servers.CacheOptions{Args: []string{"--repl-diskless-load", load}})
				for _, cut := range cuts {
					replicaFrom(t, srv, old.Addr())
					equal(t, old.Addr(), srv.Addr())
					replicaOnline(
						t, old, srv.Addr(),
					) // else the node takes it for a failed load, and delays the next resync
					p.limit.Store(cut)
					p.passed.Store(0)
					replicaFrom(t, srv, p.addr())
					eventually(t, "the connection is cut",
						func() bool { return p.passed.Load() == cut })
					equal(t, old.Addr(), srv.Addr())
					p.limit.Store(1 << 40)
					caughtUp(t, n, srv.Addr())
					equal(t, n.Addr(), srv.Addr())
				}
				if st, err := n.Snapshot(t.Context()); err != nil || st.Size < cuts[len(cuts)-1] {
					t.Errorf("the file has only %d bytes, %v", st.Size, err)
				}
			})
		}
	}
}
