package replication_test

import (
	"strings"
	"sync"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// A command that cannot be applied stops a node's link for good. The node drops its replicas and
// sends them the reason until it has a link again. Once, the replicas kept links that looked up to
// date, and lagged without a message.
func TestStoppedNodeDropsItsReplicas(t *testing.T) {
	set := string(unit("SET", "k", "v"))
	again := make(chan struct{})
	release := sync.OnceFunc(func() { close(again) })
	t.Cleanup(release) // runs before the upstream waits for its connections
	up := script(t, func(link int, request string) string {
		switch {
		case request == "" || link == 1:
			return fullResync(5, set)
		case link == 2:
			return "+CONTINUE\r\n" + string(unit("RENAME", "nosuch", "other"))
		}
		<-again
		return fullResync(5, set)
	})
	t.Cleanup(release)
	n, _ := follow(t, up.addr)
	eventually(t, "the node follows", func() bool { return has(n, "k") })
	below, _ := follow(t, n.Addr())
	online(t, below)
	eventually(t, "the replica follows", func() bool { return has(below, "k") })
	dropped := dialRaw(t, n.Addr())
	if got := requestSync(dropped, foreignID, n.Offset().String()); got[0] != "+CONTINUE" {
		t.Fatalf("got %q", got)
	}
	if got := dialRaw(t, n.Addr()).do("CLIENT", "KILL", "TYPE", "master"); got != ":1" {
		t.Fatalf("got %q", got)
	}
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	for { // read until the connection ends
		if _, err := dropped.r.ReadByte(); err != nil {
			break
		}
	}
	eventually(t, "the replica has lost its link and shows the reason", func() bool {
		st := below.Status().Upstream
		return st.State != replication.LinkConnected && strings.Contains(st.Err, "RENAME")
	})
	rejects := func(when string) {
		t.Helper()
		for _, request := range [][2]string{{foreignID, (n.Offset() + 1).String()}, {"?", "-1"}} {
			got := dialRaw(t, n.Addr()).do("PSYNC", request[0], request[1])
			if !strings.HasPrefix(got, "-NOMASTERLINK ") ||
				!strings.Contains(got, "stopped following") ||
				!strings.Contains(got, "RENAME") {
				t.Errorf("%s PSYNC %s gets %q", when, request[0], got)
			}
		}
		if got := n.Status().Upstream.Stopped; !strings.Contains(got, "RENAME") {
			t.Errorf("%s Status shows %q", when, got)
		}
		info := client(t, n.Addr())
		got := field(info, "replication", "rowfall_upstream_stopped")
		if !strings.Contains(got, "RENAME") {
			t.Errorf("%s INFO shows %q", when, got)
		}
	}
	rejects("after the stop,")
	got := field(client(t, n.Addr()), "replication", "rowfall_upstream_state")
	if got != "stopped" {
		t.Errorf("INFO shows %q", got)
	}
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node requests another resync", func() bool { return len(up.psyncs()) == 3 })
	rejects("before its link is back,")
	release()
	online(t, n)
	eventually(t, "the replica follows again", func() bool {
		return below.Status().Upstream.State == replication.LinkConnected &&
			below.Offset() == n.Offset()
	})
	if st := n.Status(); st.Upstream.Stopped != "" || st.Offset != replog.Offset(5+len(set)) {
		t.Errorf("got %+v", st)
	}
}

// After a promotion the node accepts replicas again, because its own data are valid then.
func TestStoppedNodeIsPromoted(t *testing.T) {
	rename := string(unit("RENAME", "nosuch", "other"))
	up := script(t, func(int, string) string { return fullResync(5, rename) })
	n, _ := follow(t, up.addr)
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	n.SetComplete(true)
	if got := requestSync(dialRaw(t, n.Addr()), "?", "-1"); got[0] != "+FULLRESYNC" {
		t.Errorf("got %q", got)
	}
}
