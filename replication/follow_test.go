package replication_test

import (
	"testing"

	"rowfall/replication"
)

// follow starts a node that follows addr.
func follow(t *testing.T, addr string) (*replication.Node, func()) {
	t.Helper()
	c := config(t)
	c.ReplicaOf = addr
	return start(t, c)
}

// online waits until the node's link to its upstream is up.
func online(t *testing.T, n *replication.Node) {
	t.Helper()
	eventually(t, "the link is up",
		func() bool { return n.Status().Upstream.State == replication.LinkConnected })
}

// In the cascade node -> node -> node all have the same data at the same offset under one id. After
// a promotion in the middle a partial resync is enough for the last node.
func TestCascadeOfNodes(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 200)
	b, _ := follow(t, a.Addr())
	c, stopC := follow(t, b.Addr())
	online(t, c)
	fill(t, a, "b", 200)
	equal(t, a.Addr(), c.Addr())
	since := c.Status().Upstream.Since
	if got := killClients(t, c.Addr(), "master"); got != 1 {
		t.Errorf("%d links to the upstream were cut", got)
	}
	eventually(t, "c has a new link", func() bool {
		return c.Status().Upstream.Since != since &&
			c.Status().Upstream.State == replication.LinkConnected
	})
	eventually(t, "offsets are equal",
		func() bool { return a.Offset() == c.Offset() && b.Offset() == c.Offset() })
	if a.Status().ID != c.Status().ID {
		t.Errorf("ids are %s and %s", a.Status().ID, c.Status().ID)
	}
	if got := client(t, a.Addr()).Wait(t.Context(), 1, waitTimeout).Val(); got != 1 {
		t.Errorf("WAIT counts %d", got)
	}
	if got := client(t, b.Addr()).Set(t.Context(), "k", "v", 0).Err(); got == nil {
		t.Error("a replica accepts a write")
	}

	stopA()
	old := b.Status().ID
	if got := client(t, b.Addr()).Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); got != nil {
		t.Fatal(got)
	}
	apply(t, b, unit("SET", "after", "promotion"))
	eventually(t, "c follows the promoted node",
		func() bool { return c.Status().ID == b.Status().ID && c.Offset() == b.Offset() })
	if st := c.Status(); st.PreviousID != old || b.Status().ID == old {
		t.Errorf("c is %+v", st)
	}
	if st := b.Status(); st.FullSyncs != 1 || st.PartialSyncs != 2 {
		t.Errorf("the promotion cost full resyncs: %+v", st)
	}
	equal(t, b.Addr(), c.Addr())
	stopC()
}

// A restarted replica continues at its offset, also right after its first full resync.
func TestRestartedReplicaContinues(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 100)
	rc := config(t)
	rc.ReplicaOf = a.Addr()
	b, stop := start(t, rc)
	online(t, b)
	stop()
	fill(t, a, "b", 100)
	b, _ = start(t, rc)
	equal(t, a.Addr(), b.Addr())
	if st := a.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// The upstream is lost, and the node in the middle was killed in another boot. When that node is
// promoted, it serves its data, and the nodes below it continue. No owner needs to mark the data as
// complete again.
func TestRestartedReplicaIsPromoted(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 50)
	rc := config(t)
	rc.ReplicaOf = a.Addr()
	b, stopB := start(t, rc)
	online(t, b)
	below, _ := follow(t, b.Addr())
	equal(t, a.Addr(), below.Addr())
	rc.Listen = b.Addr()
	killed := copyDir(t, rc.Dir)
	stopA()
	stopB()
	rc.Dir = killed
	otherBoot(t, killed)
	b, _ = start(t, rc)
	r := dialRaw(t, b.Addr())
	if got := r.do("REPLICAOF", "NO", "ONE"); got != "+OK" {
		t.Fatal(got)
	}
	apply(t, b, unit("SET", "after", "1"))
	late, _ := follow(t, b.Addr())
	equal(t, b.Addr(), late.Addr())
	equal(t, b.Addr(), below.Addr())
	if st := b.Status(); !st.Complete || st.FullSyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// A full resync of a node in the middle causes one of the nodes below it. Each serves its old data
// until the new data are there.
func TestFullResyncInTheMiddle(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 50)
	b, _ := follow(t, a.Addr())
	c, _ := follow(t, b.Addr())
	equal(t, a.Addr(), c.Addr())
	other, _ := complete(t, config(t))
	fill(t, other, "z", 70)
	stopA()
	if err := b.ReplicaOf(t.Context(), other.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, other.Addr(), b.Addr())
	equal(t, other.Addr(), c.Addr())
	if b.Status().ID != other.Status().ID || c.Status().ID != other.Status().ID {
		t.Error("ids differ")
	}
}
