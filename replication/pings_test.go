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

// pinging is a master that writes a PING every two milliseconds.
func pinging(t *testing.T, upstream string) (*replication.Node, func()) {
	t.Helper()
	c := config(t)
	c.PingPeriod, c.ReplicaOf = 2*time.Millisecond, upstream
	return start(t, c)
}

// A master whose link to its replica is gone writes PINGs that the replica never
// sees. Promoted, that one writes something else in their place: so nobody who has
// them may go on with it by numbers that happen to fit, the former master least of
// all. Who asks under the old id gets the former master's own bytes up to the
// promotion, and beyond it all the data.
func TestPingsBeyondAPromotion(t *testing.T) {
	a, _ := pinging(t, "")
	a.SetComplete(true)
	fill(t, a, "a", 20)
	sees := dialRaw(t, a.Addr())
	from := psync(sees, a.Status().ID, "1")
	p := newProxy(t, a.Addr(), 0)
	b, _ := pinging(t, p.addr())
	online(t, b)
	below, _ := follow(t, b.Addr())
	online(t, below)
	p.limit.Store(0)
	p.cut()
	eventually(t, "the link is gone",
		func() bool { return b.Status().Upstream.State != replication.LinkConnected })
	old, split := a.Status().ID, b.Offset()
	eventually(t, "PINGs are written that nobody sees",
		func() bool { return a.Offset() > split+200 })
	beyond := a.Offset()
	if err := b.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for b.Offset() < beyond+200 {
		apply(t, b, unit("SET", "after", strconv.Itoa(int(b.Offset()))))
	}
	if st := b.Status(); st.PreviousID != old || st.PreviousTo != split {
		t.Errorf("the old id is good for %d, want %d", st.PreviousTo, split)
	}

	theirs := make([]byte, split-from)
	for read := 0; read < len(theirs); {
		n, err := sees.r.Read(theirs[read:])
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
		got := ask(r, old, strconv.FormatInt(int64(at)+1, 10), "psync2")
		want := "+FULLRESYNC"
		if at <= split {
			want = "+CONTINUE"
		}
		if got[0] != want || got[1] != b.Status().ID {
			t.Errorf("who has %d of the old id's bytes, which go up to %d, gets %q", at, split, got)
		} else if at <= split {
			r.expect(string(theirs[at-from:]))
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
		t.Errorf("the former master took %d full resyncs", got)
	}
	if v, _ := a.Keyspace().Get("after"); len(v) == 0 {
		t.Error("the former master lacks what was written after the promotion")
	}
}

// Redis demands the same: who has the PINGs needs all the data. One of ours that
// followed a real master and goes on under a real replica of it is treated so.
func TestPingsBeyondAPromotionOfServers(t *testing.T) {
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
	eventually(t, "a PING is written that it does not see",
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

// By FAILOVER no PING is written behind the last byte that the replica has: the
// role goes to and fro between them with nobody resynced fully.
func TestPingsStopForFailover(t *testing.T) {
	a, _ := pinging(t, "")
	a.SetComplete(true)
	fill(t, a, "a", 20)
	b, _ := pinging(t, a.Addr())
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
