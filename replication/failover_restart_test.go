package replication_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

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
