package replication_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
)

// startPinging starts a node that, as a master, writes a PING every two milliseconds.
func startPinging(t *testing.T, upstream string) (*replication.Node, func()) {
	t.Helper()
	c := config(t)
	c.PingPeriod, c.ReplicaOf = 2*time.Millisecond, upstream
	return start(t, c)
}

// A master whose link to its replica is gone writes PINGs that the replica never gets. After the
// promotion the replica writes other bytes at the offsets of those PINGs. A node that has the PINGs
// must not continue by offset alone. A PSYNC with the old id gets the former master's bytes up to
// the promotion, and a full resync beyond that.
func TestPingsAfterPromotion(t *testing.T) {
	a, _ := startPinging(t, "")
	a.SetComplete(true)
	fill(t, a, "a", 20)
	stays := dialRaw(t, a.Addr())
	from := psync(stays, a.Status().ID, "1")
	p := newProxy(t, a.Addr(), 0)
	b, _ := startPinging(t, p.addr())
	online(t, b)
	below, _ := follow(t, b.Addr())
	online(t, below)
	p.limit.Store(0)
	p.cut()
	eventually(t, "the link is gone",
		func() bool { return b.Status().Upstream.State != replication.LinkConnected })
	old, split := a.Status().ID, b.Offset()
	eventually(t, "the master has written PINGs that the replica lacks",
		func() bool { return a.Offset() > split+200 })
	beyond := a.Offset()
	if err := b.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for b.Offset() < beyond+200 {
		apply(t, b, unit("SET", "after", strconv.Itoa(int(b.Offset()))))
	}
	if st := b.Status(); st.PreviousID != old || st.PreviousTo != split {
		t.Errorf("the old id is valid up to %d, want %d", st.PreviousTo, split)
	}

	fromMaster := make([]byte, split-from)
	for read := 0; read < len(fromMaster); {
		n, err := stays.r.Read(fromMaster[read:])
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
	ping := replog.Offset(len(unit("PING")))
	for _, at := range []replog.Offset{
		split - 3*ping, split - 1, split, split + 1, split + ping, beyond - 1, beyond,
	} {
		r := dialRaw(t, b.Addr())
		got := requestSync(r, old, strconv.FormatInt(int64(at)+1, 10), "psync2")
		want := "+FULLRESYNC"
		if at <= split {
			want = "+CONTINUE"
		}
		if got[0] != want || got[1] != b.Status().ID {
			t.Errorf("PSYNC at offset %d of the old id, which is valid up to %d, gets %q",
				at, split, got)
		} else if at <= split {
			r.expect(string(fromMaster[at-from:]))
		}
		r.Close()
	}

	full := b.Status().FullSyncs
	if err := a.ReplicaOf(t.Context(), b.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, b.Addr(), a.Addr())
	equal(t, b.Addr(), below.Addr())
	if got := b.Status().FullSyncs - full; got != 1 {
		t.Errorf("the former master had %d full resyncs", got)
	}
	if v, _ := a.Keyspace().Get("after"); len(v) == 0 {
		t.Error("the former master lacks what was written after the promotion")
	}
}

// Redis behaves in the same way: a node with the PINGs needs a full resync. This node followed a
// real master and then follows a real replica of that master.
func TestPingsAfterPromotionOfServers(t *testing.T) {
	servertest.Need(t, servers.Redis)
	a := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: []string{"--repl-ping-replica-period", "1"}})
	ac := client(t, a.Addr())
	ac.Set(t.Context(), "k", "v", 0)
	p := newProxy(t, a.Addr(), 0)
	b := servertest.Cache(t, servers.Redis, servers.CacheOptions{Args: replicaOf(p.addr())})
	bc := client(t, b.Addr())
	n, _ := follow(t, a.Addr())
	equal(t, a.Addr(), b.Addr())
	online(t, n)
	p.limit.Store(0)
	p.cut()
	eventually(t, "the link is gone",
		func() bool { return field(bc, "replication", "master_link_status") == "down" })
	split, _ := strconv.Atoi(field(bc, "replication", "slave_repl_offset"))
	eventually(t, "the master has written a PING that the server lacks",
		func() bool { return int(n.Offset()) > split })
	if err := bc.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		bc.Set(t.Context(), "after", fmt.Sprint(i, strings.Repeat("x", 100)), 0)
	}
	if err := n.ReplicaOf(t.Context(), b.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, b.Addr(), n.Addr())
	replicaFrom(t, a, b.Addr())
	equal(t, b.Addr(), a.Addr())
	if got := field(bc, "stats", "sync_full"); got != "2" {
		t.Errorf("%s full resyncs", got)
	}
}

// FAILOVER writes no PING after the last byte that the replica has. The role goes to the replica
// and back without a full resync.
func TestPingsStopForFailover(t *testing.T) {
	a, _ := startPinging(t, "")
	a.SetComplete(true)
	fill(t, a, "a", 20)
	b, _ := startPinging(t, a.Addr())
	below, _ := follow(t, a.Addr())
	online(t, below)
	from, to := a, b
	for range 2 {
		replicaOnline(t, from, to.Addr())
		failoverTo(t, from.Addr(), to.Addr())
		eventually(t, "the role changed", func() bool {
			role, _ := to.Role()
			return role == replication.Master && from.Status().Failover == "no-failover"
		})
		from, to = to, from
	}
	apply(t, from, unit("SET", "after", "1"))
	equal(t, from.Addr(), to.Addr())
	equal(t, from.Addr(), below.Addr())
	if full := a.Status().FullSyncs + b.Status().FullSyncs; full != 2 {
		t.Errorf("%d full resyncs", full)
	}
}
