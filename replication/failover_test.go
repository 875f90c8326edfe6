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

// The role goes from node to node and back under writing, with nothing lost and
// nobody resynced fully.
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
			t.Fatalf("round %d: the new master has unit %s of %d", round, v, total)
		}
		replicaOnline(t, to, from.Addr())
		from, to = to, from
	}
	apply(t, from, unit("SET", "end", "1"))
	for _, n := range []*replication.Node{to, c} {
		eventually(t, "all have everything",
			func() bool { return n.Offset() == from.Offset() && n.Status().ID == from.Status().ID })
	}
	if full := a.Status().FullSyncs + b.Status().FullSyncs + c.Status().FullSyncs; full != 2 {
		t.Errorf("%d full resyncs", full)
	}
}

// The same with a real server, there and back.
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
			refuses := func(why string) { // by these words we go
				t.Helper()
				err := s.Do(t.Context(), "PSYNC", foreignID, "1", "FAILOVER").Err()
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("it refuses a role by %v, want %q", err, why)
				}
			}
			eventually(t, "the server is the master",
				func() bool { return field(s, "replication", "role") == "master" })
			refuses("can't be sent to a master")
			if err := s.Set(t.Context(), "there", "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
			equal(t, srv.Addr(), below.Addr())
			eventually(t, "we are its replica",
				func() bool { return field(s, "replication", "connected_slaves") == "1" })
			eventually(t, "the server counts this node as an online replica", func() bool {
				return strings.Contains(field(s, "replication", "slave0"), "state=online")
			})
			failoverTo(t, srv.Addr(), n.Addr())
			eventually(t, "we are the master",
				func() bool { role, _ := n.Role(); return role == replication.Master })
			apply(t, n, unit("SET", "back", "1"))
			equal(t, n.Addr(), srv.Addr())
			equal(t, n.Addr(), below.Addr())
			refuses("must match my replid")
			if got := n.Status().FullSyncs; got != 2 {
				t.Errorf("%d full resyncs here", got)
			}
			if got := field(s, "stats", "sync_full"); got != "0" {
				t.Errorf("%s full resyncs there", got)
			}
		})
	}
}

// A replica that never has everything ends the attempt by time-out or by word;
// writing goes on as if nothing had been.
func TestFailoverGivenUp(t *testing.T) {
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
	eventually(t, "it is online", func() bool {
		r.send("REPLCONF", "ACK", from.String())
		return n.Status().Replicas[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "k", "1"))
	// The Go API once accepted force without a target: at the time-out no replica got the role, and
	// writing ended.
	if err := n.Failover("", true, time.Millisecond); err == nil ||
		!strings.Contains(err.Error(), "requires both") {
		t.Errorf("force without a target gives %v", err)
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
		t.Error("INFO does not say so")
	}
	_, term := n.Role()
	applied := make(chan error, 1)
	eventually(t, "writing is paused", func() bool {
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
	eventually(t, "it is over", func() bool { return n.Status().Failover == "no-failover" })
	if got := do("FAILOVER", "TIMEOUT", "20"); got != "OK" {
		t.Error(got)
	}
	eventually(t, "it is over again", func() bool { return n.Status().Failover == "no-failover" })
	if role, now := n.Role(); role != replication.Master || now != term {
		t.Errorf("it is %s in term %d", role, now)
	}
	apply(t, n, unit("SET", "k", "4"))
}

// target is a replica that has everything and that the test answers for: who asks it
// at the address that it announces asks the test.
type target struct {
	t *testing.T
	net.Listener
	id string        // it follows under
	at replog.Offset // it has
}

func standIn(t *testing.T, n *replication.Node) *target {
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
	eventually(t, "it is sent", func() bool { return n.Status().Replicas[0].Sent == at })
	r.send("REPLCONF", "ACK", at.String())
	replicaOnline(t, n, l.Addr().String())
	return &target{t, l, n.Status().ID, at}
}

// asked waits until it is to take the role over, and returns who waits for an answer.
func (s *target) asked() *raw {
	s.t.Helper()
	conn, err := s.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	u := &raw{s.t, conn, newReader(conn)}
	want := []string{"PSYNC", s.id, strconv.Itoa(int(s.at) + 1), "FAILOVER"}
	if got := u.handshake(); !slices.Equal(got, want) {
		s.t.Errorf("it is asked %q, want %q", got, want)
	}
	return u
}

// One that has everything and then refuses leaves us the master, in a new term
// and under a new id; a restart before the answer asks again.
func TestFailoverRefused(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	target := standIn(t, n)
	id, at := target.id, target.at
	_, term := n.Role()
	if err := n.Failover("", false, 0); err != nil {
		t.Fatal(err)
	}
	ask := func(answer string) {
		t.Helper()
		conn := target.asked()
		defer conn.Close()
		conn.Write([]byte(answer)) //nolint:errcheck // the test sees what follows
	}
	ask("-NOMASTERLINK not now\r\n")
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("while it asks: %+v", n.Status())
	}
	stop()
	if _, err := os.Stat(c.Dir + "/failover"); err != nil {
		t.Error(err)
	}
	n, _ = start(t, c)
	ask("-ERR no\r\n")
	eventually(t, "it is the master again",
		func() bool { role, now := n.Role(); return role == replication.Master && now == term+2 })
	if st := n.Status(); st.ID == id || st.PreviousID != id || st.PreviousTo != at ||
		st.Failover != "no-failover" {
		t.Errorf("got %+v", st)
	}
}

// By force the role goes, at the time-out, to a replica that lacks the newest
// units: it goes on from where it is, and the old master, which has more, gives
// that up by a full resync from it.
func TestFailoverByForceLosesWhatTheTargetLacks(t *testing.T) {
	a, _ := complete(t, config(t))
	c := config(t)
	d := newVolume()
	c.Log.FS, c.ReplicaOf = d, a.Addr()
	c.Log.Reserve, c.Log.SegmentSize = 64<<10, 256<<10
	b, _ := start(t, c)
	replicaOnline(t, a, b.Addr())
	apply(t, a, unit("SET", "kept", "1"))
	eventually(t, "it has that", func() bool { return b.Offset() == a.Offset() })
	d.full.Store(true)
	for i := range 40 {
		apply(t, a, unit("SET", "k", strings.Repeat("x", 30<<10+i)))
	}
	apply(t, a, unit("SET", "lost", "1"))
	eventually(t, "it lags", func() bool { return b.Status().Held != "" })
	id, end, lacking := a.Status().ID, a.Offset(), b.Offset()
	failoverTo(t, a.Addr(), b.Addr(), "FORCE", "TIMEOUT", "20")
	eventually(t, "the role changed", func() bool {
		role, _ := b.Role()
		return role == replication.Master && a.Status().Failover == "no-failover"
	})
	st := b.Status()
	if st.ID == id || st.PreviousID != id || st.PreviousTo != lacking || lacking >= end {
		t.Errorf("it took over at %s of %s: %+v", lacking, end, st)
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
		t.Errorf("kept %v, lost unit there %v, %d full resyncs", kept, lost, full)
	}
}

// ABORT while the replica is asked: the node is the master again with all that it
// had, under a new id, since the replica may have become one as well. Stale data are
// no reason to refuse it; it was, with MASTERDOWN, and nothing else could end that.
func TestFailoverAbortedWhileAsking(t *testing.T) {
	c := config(t)
	c.RejectStaleData = true
	n, stop := complete(t, c)
	target := standIn(t, n)
	id, at := target.id, target.at
	_, term := n.Role()
	failoverTo(t, n.Addr(), target.Addr().String())
	conn := target.asked()
	defer conn.Close()
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("while it asks: %+v", n.Status())
	}
	client := dialRaw(t, n.Addr())
	if got := client.do("FAILOVER", "ABORT"); got != "+OK" {
		t.Errorf("ABORT gets %q", got)
	}
	if got := client.do("FAILOVER", "ABORT"); got != "-ERR No failover in progress." {
		t.Errorf("a second one gets %q", got)
	}
	role, now := n.Role()
	if st := n.Status(); role != replication.Master || now != term+2 || st.ID == id ||
		st.PreviousID != id ||
		st.PreviousTo != at ||
		st.Failover != "no-failover" {
		t.Errorf("it is %s in term %d: %+v", role, now, st)
	}
	if v, _ := n.Keyspace().Get("k"); string(v) != "1" {
		t.Errorf("k is %q", v)
	}
	apply(t, n, unit("SET", "k", "2"))
	stop()
	n, _ = start(t, c) // it does not ask again
	if role, again := n.Role(); role != replication.Master || again != now {
		t.Errorf("after a restart it is %s in term %d", role, again)
	}
}

// Both were restarted between the question and the answer. The target has no
// upstream then, and takes over with the data that it kept.
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

// A mark that could not be removed when its hand-over was over, and lies there under
// another id, is not obeyed: the upstream is a replica itself by then, and would have
// made itself a second master.
func TestFailoverMarkOfAnotherID(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 10)
	c := config(t)
	c.ReplicaOf = a.Addr()
	n, stop := start(t, c)
	online(t, n)
	equal(t, a.Addr(), n.Addr())
	stop()
	mark := filepath.Join(c.Dir, "failover")
	if err := os.WriteFile(mark, []byte(a.Addr()+"\n"+foreignID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	if got := n.Status().Failover; got != "no-failover" {
		t.Errorf("it is in %s", got)
	}
	online(t, n)
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
}

// The answer was never heard, and the new master handed the role on before the old
// one asked again. That was refused, then, and the old master took the role back:
// there were two. It follows.
func TestFailoverUnheardThenHandedOn(t *testing.T) {
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
		t.Errorf("the mark: %v", err)
	}
}

// What it asked is under another id now, and whether it was the master meanwhile
// cannot be told: the node neither takes the role back nor lets its data go.
func TestFailoverWhoseReplicaMovedOn(t *testing.T) {
	n, _ := complete(t, config(t))
	target := standIn(t, n)
	failoverTo(t, n.Addr(), target.Addr().String())
	for _, answer := range []string{
		"",
		"-NOMASTERLINK no\r\n",
		"-MASTERDOWN no\r\n",
		"+FULLRESYNC " + foreignID + " 5\r\n",
	} {
		conn := target.asked()
		refusal := "-ERR PSYNC FAILOVER replid must match my replid.\r\n"
		conn.Write([]byte(refusal)) //nolint:errcheck // the test sees what follows
		want := []string{"PSYNC", target.id, strconv.Itoa(int(target.at) + 1)}
		if got := conn.command(); !slices.Equal(got, want) {
			t.Errorf("then it is asked %q, want %q", got, want)
		}
		conn.Write([]byte(answer)) //nolint:errcheck // the test sees what follows
		conn.Close()
	}
	eventually(t, "it stopped",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if st := n.Status(); st.Failover != "failover-in-progress" ||
		!strings.Contains(st.Upstream.Err, "send FAILOVER ABORT") {
		t.Errorf("got %+v", st)
	}
	if err := n.AbortFailover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if role, _ := n.Role(); role != replication.Master || n.Status().Failover != "no-failover" {
		t.Errorf("after ABORT it is a %s: %+v", role, n.Status())
	}
	if v, _ := n.Keyspace().Get("k"); string(v) != "1" {
		t.Errorf("k is %q", v)
	}
	apply(t, n, unit("SET", "k", "2"))
}

// On a full disk the role cannot be taken back. The node forgot then that it had
// asked, and followed for good the replica that refused and followed it: there was no
// master. It goes on asking.
func TestFailoverRefusedOnAFullDisk(t *testing.T) {
	volume := memfs.New()
	c := diskConfig(t.TempDir(), volume)
	n := restarted(t, c, volume)
	defer func() { n.stop() }()
	n.SetComplete(true)
	target := standIn(t, n.Node)
	refuse := func() {
		t.Helper()
		conn := target.asked()
		defer conn.Close()
		conn.Write([]byte("-ERR no\r\n")) //nolint:errcheck // the test sees what follows
	}
	if err := n.Failover("", false, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its new role is on disk",
		func() bool { role, _ := n.Role(); return role == replication.Replica })
	volume.Leave(0)
	refuse()
	eventually(t, "it cannot",
		func() bool { return strings.Contains(n.Status().Upstream.Err, "cancel failover") })
	if err := n.AbortFailover(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("ABORT gives %v", err)
	}
	if role, _ := n.Role(); role != replication.Replica ||
		n.Status().Failover != "failover-in-progress" {
		t.Errorf("it is a %s: %+v", role, n.Status())
	}
	volume.Leave(-1)
	n.stop()
	n = restarted(t, c, volume)
	refuse()
	eventually(t, "it is the master again", func() bool {
		role, _ := n.Role()
		return role == replication.Master && n.Status().Failover == "no-failover"
	})
	if slices.Contains(volume.Names(c.Dir), "failover") {
		t.Error("the mark is left")
	}
}

// A hand-over that a full disk ended left its mark. Made a replica of the same address
// later, the node asked that to take over at its next start.
func TestFailedHandOverIsForgotten(t *testing.T) {
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
					t.Errorf("step %d, once %v: after REPLICAOF and a restart its state is %s",
						step, once, got)
				}
			}
			n.stop()
		}
	}
}

// ABORT that came while the role was being given away said OK, and it was given away.
func TestAbortIsNotOvertaken(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var n *replication.Node
	said := errors.New("not asked")
	c := config(t)
	// The appender creates this file when it has begun: it cannot be asked any more.
	abort := faultfs.Before(func(*faultfs.Op) { said = n.AbortFailover(over) })
	c.FS = faultfs.WrapNames(disk.SystemFS{},
		faultfs.If(faultfs.Creates("failover.tmp"), abort))
	n, _ = complete(t, c)
	if err := n.HandOver(over, nowhere); !errors.Is(err, context.Canceled) {
		t.Errorf("a hand-over that was aborted gives %v", err)
	}
	target := standIn(t, n)
	failoverTo(t, n.Addr(), target.Addr().String())
	target.asked().Close()
	if !errors.Is(said, context.Canceled) {
		t.Errorf("ABORT gives %v while the role is given away", said)
	}
	if err := n.AbortFailover(t.Context()); err != nil {
		t.Error(err)
	}
	if role, _ := n.Role(); role != replication.Master || n.Status().Failover != "no-failover" {
		t.Errorf("after ABORT it is a %s: %+v", role, n.Status())
	}
}

// A node whose disk fails while it takes over may be found to be the master by its
// next start. It answered with an error, by which the other became the master again.
func TestTakeOverWithAFaultIsNoRefusal(t *testing.T) {
	dir := t.TempDir()
	base := diskBefore(t, dir, nowhere)
	for step, done := 1, false; !done; step++ {
		volume := base.Copy()
		n := restarted(t, diskConfig(dir, volume), volume)
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "capa", "psync2")
		volume.FailOnceAt(step, syscall.EIO)
		r.send("PSYNC", n.Status().ID, (n.Offset() + 1).String(), "FAILOVER")
		answer, _ := r.r.ReadString('\n') // or an error, because the node stops
		done = !volume.Failed()
		if done && !strings.HasPrefix(answer, "+CONTINUE") ||
			!done && answer != "" && !strings.HasPrefix(answer, "-NOMASTERLINK") {
			t.Errorf("step %d: the answer is %q", step, answer)
		}
		n.stop()
	}
}
