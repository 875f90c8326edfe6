package replication_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/replog"
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

// target is a fake replica that has all data. The test answers connections to the address that it
// announces.
type target struct {
	t *testing.T
	net.Listener
	id string        // the master's replication id when the target attached
	at replog.Offset // what the target has acknowledged
}

// attachTarget attaches a target to n and waits until it is online.
func attachTarget(t *testing.T, n *replication.Node) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := dialRaw(t, n.Addr())
	r.do("REPLCONF", "listening-port", port)
	r.send("PSYNC", n.Status().ID, "1")
	r.line()
	at := apply(t, n, unit("SET", "k", "1"))
	eventually(t, "the unit is sent", func() bool { return n.Status().Replicas[0].Sent == at })
	r.send("REPLCONF", "ACK", at.String())
	replicaOnline(t, n, l.Addr().String())
	return &target{t, l, n.Status().ID, at}
}

// awaitTakeover waits for PSYNC ... FAILOVER and returns its connection.
func (s *target) awaitTakeover() *rawConn {
	s.t.Helper()
	conn, err := s.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	u := &rawConn{s.t, conn, newReader(conn)}
	want := []string{"PSYNC", s.id, strconv.Itoa(int(s.at) + 1), "FAILOVER"}
	if got := u.handshake(); !slices.Equal(got, want) {
		s.t.Errorf("the target is sent %q, want %q", got, want)
	}
	return u
}

// A target that has all data and rejects the role leaves the node the master, in a new term and
// under a new id. A restart before the reply sends the request again.
func TestFailoverRejected(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	target := attachTarget(t, n)
	id, at := target.id, target.at
	_, term := n.Role()
	if err := n.Failover("", false, 0); err != nil {
		t.Fatal(err)
	}
	reply := func(text string) {
		t.Helper()
		conn := target.awaitTakeover()
		defer conn.Close()
		conn.Write([]byte(text)) //nolint:errcheck // the test checks the outcome
	}
	reply("-NOMASTERLINK not now\r\n")
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("during the request: %+v", n.Status())
	}
	stop()
	if _, err := os.Stat(c.Dir + "/failover"); err != nil {
		t.Error(err)
	}
	n, _ = start(t, c)
	reply("-ERR no\r\n")
	eventually(t, "the node is the master again",
		func() bool { role, now := n.Role(); return role == replication.Master && now == term+2 })
	if st := n.Status(); st.ID == id || st.PreviousID != id || st.PreviousTo != at ||
		st.Failover != "no-failover" {
		t.Errorf("got %+v", st)
	}
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

// After ABORT during the request to the target, the node is the master again with all its data. It
// has a new id, because the target may have become a master, too. Stale data are no reason to
// reject ABORT. Once, ABORT got MASTERDOWN, and nothing else could end the state.
func TestFailoverAbortedDuringRequest(t *testing.T) {
	c := config(t)
	c.RefuseStaleData = true
	n, stop := complete(t, c)
	target := attachTarget(t, n)
	id, at := target.id, target.at
	_, term := n.Role()
	failoverTo(t, n.Addr(), target.Addr().String())
	conn := target.awaitTakeover()
	defer conn.Close()
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("during the request: %+v", n.Status())
	}
	client := dialRaw(t, n.Addr())
	if got := client.do("FAILOVER", "ABORT"); got != "+OK" {
		t.Errorf("ABORT gets %q", got)
	}
	if got := client.do("FAILOVER", "ABORT"); got != "-ERR No failover in progress." {
		t.Errorf("the second ABORT gets %q", got)
	}
	role, now := n.Role()
	if st := n.Status(); role != replication.Master || now != term+2 || st.ID == id ||
		st.PreviousID != id ||
		st.PreviousTo != at ||
		st.Failover != "no-failover" {
		t.Errorf("the node is %s in term %d: %+v", role, now, st)
	}
	if v, _ := n.Keyspace().Get("k"); string(v) != "1" {
		t.Errorf("k is %q", v)
	}
	apply(t, n, unit("SET", "k", "2"))
	stop()
	n, _ = start(t, c) // it sends no second request
	if role, again := n.Role(); role != replication.Master || again != now {
		t.Errorf("after a restart the node is %s in term %d", role, again)
	}
}

// Both nodes were restarted between the request and the reply. The target has no upstream then, and
// takes over with the data in its directory.
func TestFailoverToARestartedReplica(t *testing.T) {
	ca, cb := config(t), config(t)
	a, stopA := complete(t, ca)
	fill(t, a, "a", 10)
	cb.ReplicaOf = a.Addr()
	b, stopB := start(t, cb)
	online(t, b)
	equal(t, a.Addr(), b.Addr())
	ca.Listen, cb.Listen = a.Addr(), b.Addr()
	stopA()
	stopB()
	id, err := identity.Load(disk.SystemFS{}, ca.Dir)
	if err != nil {
		t.Fatal(err)
	}
	failover := cb.Listen + "\n" + string(id.History.ID()) + "\n"
	file := filepath.Join(ca.Dir, "failover")
	if err := os.WriteFile(file, []byte(failover), 0o600); err != nil {
		t.Fatal(err)
	}
	id.Upstream = cb.Listen
	id.Term++
	if err := id.Save(disk.SystemFS{}, ca.Dir); err != nil {
		t.Fatal(err)
	}
	b, _ = start(t, cb)
	a, _ = start(t, ca)
	eventually(t, "the role changed", func() bool {
		role, _ := b.Role()
		return role == replication.Master && a.Status().Failover == "no-failover"
	})
	apply(t, b, unit("SET", "after", "1"))
	equal(t, b.Addr(), a.Addr())
	if got := b.Status().FullSyncs; got != 0 {
		t.Errorf("%d full resyncs", got)
	}
}

// A failover file left from an earlier hand-over, with another replication id, is ignored.
// Otherwise its upstream, which is a replica by then, would become a second master.
func TestFailoverFileOfAnotherID(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 10)
	c := config(t)
	c.ReplicaOf = a.Addr()
	n, stop := start(t, c)
	online(t, n)
	equal(t, a.Addr(), n.Addr())
	stop()
	file := filepath.Join(c.Dir, "failover")
	if err := os.WriteFile(file, []byte(a.Addr()+"\n"+foreignID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	if got := n.Status().Failover; got != "no-failover" {
		t.Errorf("the failover state is %s", got)
	}
	online(t, n)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the failover file is left: %v", err)
	}
}

// The old master did not receive the reply, and the new master has handed the role on. The old
// master must follow the third node and not become a second master.
func TestFailoverReplyLostThenHandedOn(t *testing.T) {
	ca := config(t)
	a, stop := complete(t, ca)
	fill(t, a, "a", 10)
	b, _ := follow(t, a.Addr())
	c, _ := follow(t, a.Addr())
	handOver := func(from, to *replication.Node) {
		t.Helper()
		replicaOnline(t, from, to.Addr())
		failoverTo(t, from.Addr(), to.Addr())
		eventually(t, "the role changed", func() bool {
			role, _ := to.Role()
			return role == replication.Master && from.Status().Failover == "no-failover"
		})
	}
	online(t, c)
	handOver(a, b)
	stop()
	// The file is left as if the node had been killed before it was removed.
	file := filepath.Join(ca.Dir, "failover")
	if err := os.WriteFile(file, []byte(b.Addr()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.ReplicaOf(t.Context(), b.Addr()); err != nil {
		t.Fatal(err)
	}
	handOver(b, c)
	a, _ = start(t, ca)
	apply(t, c, unit("SET", "after", "1"))
	equal(t, c.Addr(), a.Addr())
	if role, _ := a.Role(); role != replication.Replica || a.Status().Failover != "no-failover" ||
		a.Status().ID != c.Status().ID {
		t.Errorf("the first master: %+v", a.Status())
	}
	if full := b.Status().FullSyncs + c.Status().FullSyncs; full != 0 {
		t.Errorf("%d full resyncs", full)
	}
	if _, err := os.Stat(ca.Dir + "/failover"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the failover file: %v", err)
	}
}

// The target rejects the role because it has another id now. Nothing shows whether the target was
// the master in between. The node neither takes the role back nor drops its data.
func TestFailoverWhoseReplicaHasAnotherID(t *testing.T) {
	n, _ := complete(t, config(t))
	target := attachTarget(t, n)
	failoverTo(t, n.Addr(), target.Addr().String())
	for _, reply := range []string{
		"",
		"-NOMASTERLINK no\r\n",
		"-MASTERDOWN no\r\n",
		"+FULLRESYNC " + foreignID + " 5\r\n",
	} {
		conn := target.awaitTakeover()
		rejection := "-ERR PSYNC FAILOVER replid must match my replid.\r\n"
		conn.Write([]byte(rejection)) //nolint:errcheck // the test checks the outcome
		want := []string{"PSYNC", target.id, strconv.Itoa(int(target.at) + 1)}
		if got := conn.command(); !slices.Equal(got, want) {
			t.Errorf("then the target is sent %q, want %q", got, want)
		}
		conn.Write([]byte(reply)) //nolint:errcheck // the test checks the outcome
		conn.Close()
	}
	eventually(t, "the link stopped",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if st := n.Status(); st.Failover != "failover-in-progress" ||
		!strings.Contains(st.Upstream.Err, "send FAILOVER ABORT") {
		t.Errorf("got %+v", st)
	}
	if err := n.AbortFailover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if role, _ := n.Role(); role != replication.Master || n.Status().Failover != "no-failover" {
		t.Errorf("after ABORT the node is a %s: %+v", role, n.Status())
	}
	if v, _ := n.Keyspace().Get("k"); string(v) != "1" {
		t.Errorf("k is %q", v)
	}
	apply(t, n, unit("SET", "k", "2"))
}

// On a full disk the node cannot take the role back, and sends its request again. Once, it forgot
// the request and followed the replica that had rejected the role and followed the node: there was
// no master.
func TestFailoverRejectedOnFullDisk(t *testing.T) {
	volume := memfs.New()
	c := diskConfig(t.TempDir(), volume)
	n := restarted(t, c, volume)
	defer func() { n.stop() }()
	n.SetComplete(true)
	target := attachTarget(t, n.Node)
	reject := func() {
		t.Helper()
		conn := target.awaitTakeover()
		defer conn.Close()
		conn.Write([]byte("-ERR no\r\n")) //nolint:errcheck // the test checks the outcome
	}
	if err := n.Failover("", false, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new role is on disk",
		func() bool { role, _ := n.Role(); return role == replication.Replica })
	volume.Leave(0)
	reject()
	eventually(t, "the node cannot take the role back",
		func() bool { return strings.Contains(n.Status().Upstream.Err, "cancel failover") })
	if err := n.AbortFailover(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("ABORT returns %v", err)
	}
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("the node is a %s: %+v", role, n.Status())
	}
	volume.Leave(-1)
	n.stop()
	n = restarted(t, c, volume)
	reject()
	eventually(t, "the node is the master again", func() bool {
		role, _ := n.Role()
		return role == replication.Master && n.Status().Failover == "no-failover"
	})
	if slices.Contains(volume.Names(c.Dir), "failover") {
		t.Error("the failover file is left")
	}
}

// A hand-over that failed on a full disk is not resumed later. Once, it left its failover file:
// when the node became a replica of the same address later, its next start requested a takeover
// from that address.
func TestFailedHandOverIsNotResumed(t *testing.T) {
	dir := t.TempDir()
	base := diskBefore(t, dir, "")
	for step, done := 1, false; !done; step++ {
		for _, once := range []bool{true, false} {
			volume := base.Copy()
			c := diskConfig(dir, volume)
			n := restarted(t, c, volume)
			if once {
				volume.FailOnceAt(step, syscall.ENOSPC)
			} else {
				volume.FailAt(step, syscall.ENOSPC)
			}
			err := n.HandOver(context.Background(), nowhere)
			done = !volume.Failed()
			volume.FailAt(0, nil)
			if role, _ := n.Role(); err != nil && role == replication.Master &&
				n.ReplicaOf(t.Context(), nowhere) == nil {
				n.stop()
				n = restarted(t, c, volume)
				if got := n.Status().Failover; got != "no-failover" {
					t.Errorf("step %d, once %v: after REPLICAOF and a restart the failover state is %s",
						step, once, got)
				}
			}
			n.stop()
		}
	}
}

// ABORT fails while the appender gives the role away. Once, it replied OK, and the role was given
// away.
func TestAbortDuringHandOver(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var n *replication.Node
	abortErr := errors.New("not called")
	c := config(t)
	// The appender creates this file when it has begun the hand-over. It accepts no other request
	// then.
	abort := faultfs.Before(func(*faultfs.Op) { abortErr = n.AbortFailover(over) })
	c.FS = faultfs.WrapNames(disk.SystemFS{},
		faultfs.If(faultfs.Creates("failover.tmp"), abort))
	n, _ = complete(t, c)
	if err := n.HandOver(over, nowhere); !errors.Is(err, context.Canceled) {
		t.Errorf("an aborted hand-over returns %v", err)
	}
	target := attachTarget(t, n)
	failoverTo(t, n.Addr(), target.Addr().String())
	target.awaitTakeover().Close()
	if !errors.Is(abortErr, context.Canceled) {
		t.Errorf("ABORT during the hand-over returns %v", abortErr)
	}
	if err := n.AbortFailover(t.Context()); err != nil {
		t.Error(err)
	}
	if role, _ := n.Role(); role != replication.Master || n.Status().Failover != "no-failover" {
		t.Errorf("after ABORT the node is a %s: %+v", role, n.Status())
	}
}

// A node whose disk fails during the takeover may find at its next start that it is the master. So
// it must not reply with a rejection. Once, it did, and the other node became the master again.
func TestTakeOverWithDiskFault(t *testing.T) {
	dir := t.TempDir()
	base := diskBefore(t, dir, nowhere)
	for step, done := 1, false; !done; step++ {
		volume := base.Copy()
		n := restarted(t, diskConfig(dir, volume), volume)
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "capa", "psync2")
		volume.FailOnceAt(step, syscall.EIO)
		r.send("PSYNC", n.Status().ID, (n.Offset() + 1).String(), "FAILOVER")
		reply, _ := r.r.ReadString('\n') // or an error, because the node stops
		done = !volume.Failed()
		if done && !strings.HasPrefix(reply, "+CONTINUE") ||
			!done && reply != "" && !strings.HasPrefix(reply, "-NOMASTERLINK") {
			t.Errorf("step %d: the reply is %q", step, reply)
		}
		n.stop()
	}
}
