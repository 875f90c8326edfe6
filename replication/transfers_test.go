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
	large = 16      // megabytes: more than all sockets on the way hold
	part  = 4 << 20 // bytes of it
)

// sending waits until so many replicas are being sent a snapshot, all at once.
func sending(t *testing.T, n *replication.Node, want int) {
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

// replicaFrom has a real server follow addr from now on.
func replicaFrom(t *testing.T, srv *servers.Cache, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	if err := client(t, srv.Addr()).Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
}

// A replica of each kind at once, with writes going on, in both ways of loading, from a
// file that is there ("disk": its length is said first) and from one that grows
// under their eyes ("diskless": its end is marked). Each is held after its first
// megabyte until all of them are there.
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
	n, gate := throttled(t)
	if !growing {
		close(gate)
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop := writing(t, n)
	var proxies []*proxy
	for _, srv := range replicas {
		p := newProxy(t, n.Addr(), 1<<20)
		proxies = append(proxies, p)
		replicaFrom(t, srv, p.addr())
	}
	for i, p := range proxies {
		// A Redis 6.2 gets a copy in another form, whose length is not known before its end.
		marked := growing || !loadsPacked(replicas[i].Kind())
		if <-p.held; p.marked() != marked {
			t.Errorf("%s gets a mark: %v", replicas[i].Kind(), !marked)
		}
	}
	sending(t, n, len(replicas))
	at := n.Offset()
	eventually(t, "writing goes on", func() bool { return n.Offset() > at })
	sending(t, n, len(replicas))
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

// A replica that is dropped in mid-transfer comes back to the same growing file;
// the others do not notice.
func TestDroppedInMidTransfer(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	n, gate := throttled(t)
	stop := writing(t, n)
	p := newProxy(t, n.Addr(), 1<<20)
	dropped := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: []string{"--repl-diskless-load", "swapdb"}})
	stays := servertest.Cache(t, servers.Valkey, servers.CacheOptions{})
	replicaFrom(t, dropped, p.addr())
	replicaFrom(t, stays, n.Addr())
	ours, _ := follow(t, n.Addr())
	<-p.held
	sending(t, n, 3)
	p.release()
	p.cut()
	eventually(t, "it asks again", func() bool { return n.Status().FullSyncs == 4 })
	sending(t, n, 3)
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

// A snapshot that fails while it is read is never taken for a whole one: its
// readers keep what they have and get the next one.
func TestSnapshotFailsUnderReaders(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	n, gate := throttled(t)
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
	sending(t, n, 3)
	p.limit.Store(0) // they find nobody for a while
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

// A full resync cut off anywhere leaves the replica what it had, and the next one
// comes through: in both framings, which is to say from a file that is there and
// from one that is written meanwhile.
func TestFullResyncCutAnywhere(t *testing.T) {
	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	for _, marked := range []bool{false, true} {
		t.Run(fmt.Sprintf("marked %v", marked), func(t *testing.T) {
			c := config(t)
			if marked {
				c.SnapshotReuse = 1 // a new snapshot for each
			}
			a, err := replication.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			var wait atomic.Bool // the next snapshot grows until somebody reads it
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
				eventually(t, "it is sent or cut", func() bool {
					st := a.Status().Replicas
					return len(st) == 1 && st[0].State >= replication.ReplicaSending ||
						p.passed.Load() > 0
				})
			}
			whole, stop := follow(t, old.Addr())
			online(t, whole)
			resync(whole)
			equal(t, a.Addr(), whole.Addr())
			if p.marked() != marked {
				t.Fatalf("it was sent a mark: %v", !marked)
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
				eventually(t, "it is cut", func() bool { return p.passed.Load() == cut })
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

// The same with real servers, in both ways of loading.
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
					) // else it looks as if it could not load what it got, and waits the next time
					p.limit.Store(cut)
					p.passed.Store(0)
					replicaFrom(t, srv, p.addr())
					eventually(t, "it is cut", func() bool { return p.passed.Load() == cut })
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
