package replication_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

func failoverTo(t *testing.T, from, to string, more ...any) {
	t.Helper()
	host, port, _ := net.SplitHostPort(to)
	args := append([]any{"FAILOVER", "TO", host, port}, more...)
	if err := client(t, from).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func replicaOnline(t *testing.T, n *replication.Node, addr string) {
	t.Helper()
	eventually(t, addr+" is online", func() bool {
		for _, r := range n.Status().Replicas {
			if r.Addr == addr && r.State == replication.ReplicaOnline {
				return true
			}
		}
		return false
	})
}

// The role goes from node to node and back while units are written. No unit is lost, and no node
// needs a full resync.
func TestFailoverBetweenNodes(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 50)
	b, _ := follow(t, a.Addr())
	c, _ := follow(t, a.Addr())
	online(t, c)
	replicaOnline(t, a, b.Addr())
	from, to := a, b
	total := 0
	for round := range 3 {
		_, term := from.Role()
		demoted := make(chan int)
		go func() {
			for i := 0; ; i++ {
				_, err := from.Apply(context.Background(), term,
					unit("SET", "n", strconv.Itoa(total+i)))
				if errors.Is(err, replication.ErrDemoted) {
					demoted <- i
					return
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		failoverTo(t, from.Addr(), to.Addr())
		total += <-demoted
		eventually(t, "the role changed", func() bool {
			role, _ := to.Role()
			return role == replication.Master && from.Status().Failover == "no-failover"
		})
		online(t, from)
		if v, _ := to.Keyspace().Get("n"); string(v) != strconv.Itoa(total-1) {
			t.Fatalf("round %d: the new master has unit %s, want %d", round, v, total)
		}
		replicaOnline(t, to, from.Addr())
		from, to = to, from
	}
	apply(t, from, unit("SET", "end", "1"))
	for _, n := range []*replication.Node{to, c} {
		eventually(t, "all nodes have all data",
			func() bool { return n.Offset() == from.Offset() && n.Status().ID == from.Status().ID })
	}
	if full := a.Status().FullSyncs + b.Status().FullSyncs + c.Status().FullSyncs; full != 2 {
		t.Errorf("%d full resyncs", full)
	}
}

// The role goes to a real server and back.
func TestFailoverWithRealServer(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			servertest.Need(t, kind)
			n, _ := complete(t, config(t))
			fill(t, n, "a", 50)
			srv := servertest.Cache(t, kind, servers.CacheOptions{Args: replicaOf(n.Addr())})
			replicaOnline(t, n, srv.Addr())
			below, _ := follow(t, n.Addr())
			online(t, below)
			failoverTo(t, n.Addr(), srv.Addr())
			s := client(t, srv.Addr())
			rejects := func(why string) { // the node recognizes these error texts
				t.Helper()
				err := s.Do(t.Context(), "PSYNC", foreignID, "1", "FAILOVER").Err()
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("the server rejects the role with %v, want %q", err, why)
				}
			}
			eventually(t, "the server is the master",
				func() bool { return field(s, "replication", "role") == "master" })
			rejects("can't be sent to a master")
			if err := s.Set(t.Context(), "there", "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
			equal(t, srv.Addr(), below.Addr())
			eventually(t, "the node is the server's replica",
				func() bool { return field(s, "replication", "connected_slaves") == "1" })
			eventually(t, "the server counts this node as an online replica", func() bool {
				return strings.Contains(field(s, "replication", "slave0"), "state=online")
			})
			failoverTo(t, srv.Addr(), n.Addr())
			eventually(t, "the node is the master",
				func() bool { role, _ := n.Role(); return role == replication.Master })
			apply(t, n, unit("SET", "back", "1"))
			equal(t, n.Addr(), srv.Addr())
			equal(t, n.Addr(), below.Addr())
			rejects("must match my replid")
			if got := n.Status().FullSyncs; got != 2 {
				t.Errorf("the node gave %d full resyncs", got)
			}
			if got := field(s, "stats", "sync_full"); got != "0" {
				t.Errorf("the server gave %s full resyncs", got)
			}
		})
	}
}

// A failover to a replica that never has all data ends by time-out or by FAILOVER ABORT. Writing
// then continues as before.
func TestFailoverTimesOut(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	c := client(t, n.Addr())
	do := func(args ...any) string {
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			return err.Error()
		}
		return "OK"
	}
	if got := do("FAILOVER"); got != "ERR FAILOVER requires connected replicas." {
		t.Error(got)
	}
	from := psync(r, "?", "-1")
	notOnline := "ERR FAILOVER target replica is not online."
	if got := do("FAILOVER", "TO", "127.0.0.1", "7777"); got != notOnline {
		t.Error(got)
	}
	eventually(t, "the replica is online", func() bool {
		r.send("REPLCONF", "ACK", from.String())
		return n.Status().Replicas[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "k", "1"))
	// The Go API once accepted force without a target: at the time-out no replica got the role, and
	// writing ended.
	if err := n.Failover("", true, time.Millisecond); err == nil ||
		!strings.Contains(err.Error(), "requires both") {
		t.Errorf("force without a target returns %v", err)
	}
	for _, step := range [][2]string{
		{"FAILOVER TO 127.0.0.1 1", "ERR FAILOVER target HOST and PORT is not a replica."},
		{
			"FAILOVER TO 127.0.0.1 7777 FORCE",
			"ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
		},
		{"FAILOVER TIMEOUT 0", "ERR FAILOVER timeout must be greater than 0"},
		{"FAILOVER ABORT", "ERR No failover in progress."},
		{"FAILOVER NOW", "ERR syntax error"},
		{"FAILOVER TO 127.0.0.1 7777", "OK"},
		{"FAILOVER", "ERR FAILOVER already in progress."},
		{"REPLICAOF 127.0.0.1 1", "ERR REPLICAOF not allowed while failing over."},
	} {
		args := []any{}
		for _, a := range strings.Fields(step[0]) {
			args = append(args, a)
		}
		if got := do(args...); got != step[1] {
			t.Errorf("%s gives %q, want %q", step[0], got, step[1])
		}
	}
	if !strings.Contains(c.Info(t.Context(), "replication").Val(),
		"master_failover_state:waiting-for-sync\r\n") {
		t.Error("INFO does not show the failover")
	}
	_, term := n.Role()
	applied := make(chan error, 1)
	eventually(t, "Apply stalls", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := n.Apply(ctx, term, unit("SET", "k", "2"))
		return errors.Is(err, context.DeadlineExceeded)
	})
	go func() {
		_, err := n.Apply(context.Background(), term, unit("SET", "k", "3"))
		applied <- err
	}()
	if got := do("FAILOVER", "ABORT"); got != "OK" {
		t.Error(got)
	}
	if err := <-applied; err != nil {
		t.Error(err)
	}
	eventually(t, "the failover is over",
		func() bool { return n.Status().Failover == "no-failover" })
	if got := do("FAILOVER", "TIMEOUT", "20"); got != "OK" {
		t.Error(got)
	}
	eventually(t, "the second failover is over",
		func() bool { return n.Status().Failover == "no-failover" })
	if role, now := n.Role(); role != replication.Master || now != term {
		t.Errorf("the role is %s in term %d", role, now)
	}
	apply(t, n, unit("SET", "k", "4"))
}

// With FORCE the role goes, after the time-out, to a replica that lacks the newest units. The new
// master continues at its own offset. The old master has more, and drops that by a full resync.
func TestFailoverByForceLosesWhatTheTargetLacks(t *testing.T) {
	a, _ := complete(t, config(t))
	c := config(t)
	d := newVolume()
	c.Log.FS, c.ReplicaOf = d, a.Addr()
	c.Log.Reserve, c.Log.SegmentSize = 64<<10, 256<<10
	b, _ := start(t, c)
	replicaOnline(t, a, b.Addr())
	apply(t, a, unit("SET", "kept", "1"))
	eventually(t, "the replica has the first unit", func() bool { return b.Offset() == a.Offset() })
	d.full.Store(true)
	for i := range 40 {
		apply(t, a, unit("SET", "k", strings.Repeat("x", 30<<10+i)))
	}
	apply(t, a, unit("SET", "lost", "1"))
	eventually(t, "the replica lags", func() bool { return b.Status().Held != "" })
	id, end, lacking := a.Status().ID, a.Offset(), b.Offset()
	failoverTo(t, a.Addr(), b.Addr(), "FORCE", "TIMEOUT", "20")
	eventually(t, "the role changed", func() bool {
		role, _ := b.Role()
		return role == replication.Master && a.Status().Failover == "no-failover"
	})
	st := b.Status()
	if st.ID == id || st.PreviousID != id || st.PreviousTo != lacking || lacking >= end {
		t.Errorf("the replica took over at %s, the master was at %s: %+v", lacking, end, st)
	}
	d.full.Store(false)
	apply(t, b, unit("SET", "after", "1"))
	equal(t, b.Addr(), a.Addr())
	if role, _ := a.Role(); role != replication.Replica || a.Status().ID != st.ID {
		t.Errorf("the old master: %+v", a.Status())
	}
	eventually(t, "offsets are equal", func() bool { return a.Offset() == b.Offset() })
	_, kept := a.Keyspace().Get("kept")
	_, lost := a.Keyspace().Get("lost")
	if full := b.Status().FullSyncs; !kept || lost || full != 1 {
		t.Errorf("first unit %v, lost unit %v, %d full resyncs", kept, lost, full)
	}
}
