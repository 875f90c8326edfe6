package replication_test

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
)

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

// After ABORT during the request to the target, the node is the master again with all its data. It
// has a new id, because the target may have become a master, too. Stale data are no reason to
// reject ABORT. Once, ABORT got MASTERDOWN, and nothing else could end the state.
func TestFailoverAbortedDuringRequest(t *testing.T) {
	c := config(t)
	c.RejectStaleData = true
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
