package replication_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/replication"
)

// With replica-serve-stale-data no, a replica without its upstream replies MASTERDOWN. Commands
// that an operator needs are executed. Errors that do not depend on the data come first, as in
// Redis. Once, such commands got MASTERDOWN, too.
func TestStaleDataIsRefused(t *testing.T) {
	a, stop := complete(t, config(t))
	apply(t, a, unit("SET", "k", "v"))
	c := config(t)
	c.ReplicaOf, c.RejectStaleData = a.Addr(), true
	n, _ := start(t, c)
	online(t, n)
	r := dialRaw(t, n.Addr())
	if got := r.do("EXISTS", "k"); got != ":1" {
		t.Errorf("with its upstream: %q", got)
	}
	stop()
	const down = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
	eventually(t, "the link is down",
		func() bool { return n.Status().Upstream.State != replication.LinkConnected })
	for _, step := range [][2]string{
		{"EXISTS k", down},
		{"PING", down},
		{"MULTI", "+OK"},
		{"GET k", down},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors."},
		{"NOSUCH k", "-ERR unknown command 'NOSUCH', with args beginning with: 'k' "},
		{"GET", "-ERR wrong number of arguments for 'get' command"},
		{"WAIT 1", "-ERR wrong number of arguments for 'wait' command"},
		{"SET k", "-ERR wrong number of arguments for 'set' command"},
		{"SET k w", "-READONLY You can't write against a read only replica."},
		{"GETEX k", "-READONLY You can't write against a read only replica."},
		{"MULTI", "+OK"},
		{"SET k w", "-READONLY You can't write against a read only replica."},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors."},
		{"SELECT 0", "+OK"},
		{"CONFIG SET replica-serve-stale-data yes", "+OK"},
		{"EXISTS k", ":1"},
		{"CONFIG SET replica-serve-stale-data no", "+OK"},
		{"EXISTS k", down},
		{"REPLICAOF NO ONE", "+OK"},
		{"EXISTS k", ":1"},
		{"PING", "+PONG"},
	} {
		if got := r.do(strings.Fields(step[0])...); got != step[1] {
			t.Errorf("%s gets %q, want %q", step[0], got, step[1])
		}
	}
}

// During its first full resync a replica replies LOADING. During a later one it serves the old
// data, unless drop-before-resync is set.
func TestAnswersDuringFullResync(t *testing.T) {
	for name, drop := range map[string]bool{"old data served": false, "old data dropped": true} {
		t.Run(name, func(t *testing.T) {
			up := slowUpstream(t)
			c := config(t)
			c.ReplicaOf, c.DropBeforeResync = up.addr, drop
			n, stop := start(t, c)
			up.begin()
			r := dialRaw(t, n.Addr())
			const loading = "-LOADING Redis is loading the dataset in memory"
			eventually(t, "the load began",
				func() bool { return n.Status().Upstream.State == replication.LinkTransfer })
			if got := r.do("EXISTS", "k"); got != loading {
				t.Errorf("during the first load: %q", got)
			}
			info := client(t, n.Addr()).Info(t.Context(), "replication").Val()
			if !strings.Contains(info, "master_sync_total_bytes:") ||
				!strings.Contains(info, "master_sync_in_progress:1") {
				t.Errorf("INFO shows %s", info)
			}
			up.finish()
			online(t, n)
			if got := r.do("EXISTS", "k"); got != ":1" {
				t.Errorf("after the first load: %q", got)
			}
			up.disconnect()
			up.begin()
			eventually(t, "the second load began",
				func() bool { return n.Status().Upstream.State == replication.LinkTransfer })
			if drop {
				eventually(t, "the old data are gone",
					func() bool { return n.Keyspace().Len() == 0 })
				if got := r.do("EXISTS", "k"); got != loading {
					t.Errorf("during the second load: %q", got)
				}
				if err := n.ReplicaOf(t.Context(), ""); err == nil ||
					!strings.Contains(err.Error(), "freed") {
					t.Errorf("promotion of an empty node returns %v", err)
				}
				if _, err := n.Snapshot(t.Context()); err == nil {
					t.Error("Snapshot of a node without data succeeds")
				}
				// The directory still has the old data.
				up.disconnect()
				stop()
				n, _ = start(t, c)
				if _, ok := n.Keyspace().Get("k"); !ok {
					t.Error("a restart does not have the old data")
				}
				return
			}
			if got := r.do("EXISTS", "k"); got != ":1" {
				t.Errorf("during the second load: %q", got)
			}
			up.finish()
			online(t, n)
		})
	}
}

// A node that is promoted during a full resync continues with its old data. Its replicas keep
// theirs, and a partial resync is enough for all nodes, including the former upstream.
func TestPromotedDuringFullResync(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 20)
	c := config(t)
	c.ReplicaOf = a.Addr()
	n, _ := start(t, c)
	online(t, n)
	below, _ := follow(t, n.Addr())
	equal(t, a.Addr(), below.Addr())
	up := slowUpstream(t)
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	up.begin()
	eventually(t, "half of the snapshot is received", func() bool {
		st := n.Status().Upstream
		return st.State == replication.LinkTransfer && st.Received > 0
	})
	if st := n.Status(); len(st.Replicas) != 1 ||
		st.Replicas[0].State != replication.ReplicaOnline ||
		st.PartialSyncs != 0 {
		t.Errorf("the replica was dropped: %+v", st)
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	apply(t, n, unit("SET", "after", "1"))
	equal(t, n.Addr(), below.Addr())
	if err := a.ReplicaOf(t.Context(), n.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, n.Addr(), a.Addr())
	if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 2 || st.PreviousID == "" ||
		!st.Complete {
		t.Errorf("got %+v", st)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "resync.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a snapshot is left: %v", err)
	}
}
