package replication_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/disk"
)

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
					t.Errorf("step %d, once %v: after REPLICAOF and a restart the state is %s",
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
