package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/disk"
)

// volume is the system's file system, on a disk that the test can fill.
type volume struct {
	*faultfs.FS
	full *faultfs.FullDisk
}

func newVolume() volume {
	full := &faultfs.FullDisk{}
	return volume{faultfs.Wrap(disk.SystemFS{}, full.Hook), full}
}

// On a full disk of the master Apply stalls with the reason in Status. PINGs to the replicas and
// reads continue. The stall ends by itself when there is room.
func TestFullDiskOfMaster(t *testing.T) {
	c := config(t)
	d := newVolume()
	c.Log.FS, c.PingPeriod = d, 20*time.Millisecond
	c.Log.Reserve, c.Log.SegmentSize = 64<<10, 256<<10
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	psync(r, "?", "-1")
	apply(t, n, unit("SET", "k", "v"))
	d.full.Store(true)
	_, term := n.Role()
	big := unit("SET", "big", strings.Repeat("x", 200<<10))
	// The first units still fit into the reserve.
	eventually(t, "Apply reports the full disk", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := n.Apply(ctx, term, big)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("on a full disk: %v", err)
		}
		return err != nil && strings.Contains(err.Error(), "free some space")
	})
	done := make(chan error, 1)
	go func() {
		_, err := n.Apply(context.Background(), term, big)
		done <- err
	}()
	eventually(t, "Status reports the full disk",
		func() bool { return strings.Contains(n.Status().Held, "free some space") })
	at := n.Offset()
	eventually(t, "PINGs are still written", func() bool { return n.Offset() > at+100 })
	if got := client(t, n.Addr()).Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("a read gets %q", got)
	}
	d.full.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n.Status().Held != "" {
		t.Errorf("Held is still %q", n.Status().Held)
	}
}

// A replica with a full disk keeps its link and its data, and continues at its offset.
func TestFullDiskOfReplica(t *testing.T) {
	a, _ := complete(t, config(t))
	c := config(t)
	d := newVolume()
	c.Log.FS, c.ReplicaOf = d, a.Addr()
	c.Log.Reserve, c.Log.SegmentSize = 64<<10, 256<<10
	b, _ := start(t, c)
	online(t, b)
	d.full.Store(true)
	for i := range 40 {
		apply(t, a, unit("SET", "k", strings.Repeat("x", 30<<10+i)))
	}
	eventually(t, "Status reports the full disk",
		func() bool { return strings.Contains(b.Status().Held, "free some space") })
	link := b.Status().Upstream
	eventually(t, "the replica still acknowledges", func() bool {
		st := a.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline && st[0].Acked == b.Offset()
	})
	d.full.Store(false)
	eventually(t, "the replica has all data", func() bool { return b.Offset() == a.Offset() })
	equal(t, a.Addr(), b.Addr())
	if st := b.Status(); st.Upstream.Since != link.Since || a.Status().FullSyncs != 1 {
		t.Errorf("the link was lost: %+v", st.Upstream)
	}
}

// A snapshot on a full disk fails with a reason in Status and leaves no file. The earlier snapshot
// stays, and units are written while they have room. When there is room again the snapshot is
// retried by itself.
func TestFullDiskOfSnapshot(t *testing.T) {
	for name, full := range map[string]func(volume *memfs.FS, is bool){
		"no room": func(volume *memfs.FS, is bool) {
			if volume.Leave(-1); is {
				volume.Leave(8 << 10)
			}
		},
		"no file": func(volume *memfs.FS, is bool) { volume.NoNames(is) },
	} {
		dir := t.TempDir()
		volume := diskBefore(t, dir, "")
		c := diskConfig(dir, volume)
		c.PingPeriod, c.Log.SegmentSize = 20*time.Millisecond, 1<<20
		n := restarted(t, c, volume)
		n.write(t, 100)
		was := n.Status().Snapshot
		full(volume, true)
		n.SnapshotDue()
		eventually(t, name+": the status reports it", func() bool {
			return strings.Contains(n.Status().Snapshot.Err, "free some space there")
		})
		n.write(t, 1)
		st := n.Status()
		if st.Snapshot.Offset != was.Offset || st.Snapshot.Written != 0 || len(n.done) > 0 {
			t.Errorf("%s: %+v", name, st.Snapshot)
		}
		wantNothingUnfinished(t, volume, dir)
		full(volume, false)
		n.SnapshotDue()
		eventually(t, name+": the snapshot is written",
			func() bool { st := n.Status().Snapshot; return st.Written == 1 && st.Err == "" })
		n.stop()
		n = restarted(t, c, volume)
		if st := n.Status(); n.last(t) != rowsBefore+101 || st.Snapshot.Offset <= was.Offset {
			t.Errorf("%s: %d rows, %+v", name, n.last(t), st.Snapshot)
		}
		n.stop()
	}
}

// A change of role that cannot be saved does not happen. The caller gets the reason, and the node
// keeps its role and accepts the next request.
func TestFullDiskOfIdentity(t *testing.T) {
	dir := t.TempDir()
	volume := diskBefore(t, dir, nowhere)
	n := restarted(t, diskConfig(dir, volume), volume)
	for range 2 {
		for _, full := range []func(is bool){volume.NoNames, func(is bool) {
			if volume.Leave(-1); is {
				volume.Leave(0)
			}
		}} {
			full(true)
			_, err := n.do("REPLICAOF", "NO", "ONE")
			if role, _ := n.Role(); err == nil ||
				!strings.Contains(err.Error(), "free some space there") ||
				role != replication.Replica {
				t.Errorf("the role is %v: %v", role, err)
			}
			full(false)
		}
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Error(err)
	}
	n.write(t, 1)
	n.stop()
}
