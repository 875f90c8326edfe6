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

// volume is the system's files on a disk that can be full.
type volume struct {
	*faultfs.FS
	full *faultfs.FullDisk
}

func newVolume() volume {
	full := &faultfs.FullDisk{}
	return volume{faultfs.Wrap(disk.SystemFS{}, full.Hook), full}
}

// A full disk holds Apply back, says so, keeps the replicas' PINGs coming, and
// passes by itself. Reads go on.
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
	eventually(t, "Apply says so", func() bool { // the first ones still find what was set aside
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
	eventually(t, "it says so",
		func() bool { return strings.Contains(n.Status().Held, "free some space") })
	at := n.Offset()
	eventually(t, "PINGs go on", func() bool { return n.Offset() > at+100 })
	if got := client(t, n.Addr()).Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("a read gets %q", got)
	}
	d.full.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n.Status().Held != "" {
		t.Errorf("it still says %q", n.Status().Held)
	}
}

// A replica with a full disk keeps its link and its data, and goes on where it was.
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
	eventually(t, "it says so",
		func() bool { return strings.Contains(b.Status().Held, "free some space") })
	link := b.Status().Upstream
	eventually(t, "it goes on being heard", func() bool {
		st := a.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline && st[0].Acked == b.Offset()
	})
	d.full.Store(false)
	eventually(t, "it has everything", func() bool { return b.Offset() == a.Offset() })
	equal(t, a.Addr(), b.Addr())
	if st := b.Status(); st.Upstream.Since != link.Since || a.Status().FullSyncs != 1 {
		t.Errorf("the link was lost: %+v", st.Upstream)
	}
}

// A snapshot that finds the disk full says so and leaves nothing there; the one
// before it stays, units go on as long as they find room, and when there is room
// again it is taken by itself.
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
		eventually(t, name+": it is taken",
			func() bool { st := n.Status().Snapshot; return st.Written == 1 && st.Err == "" })
		n.stop()
		n = restarted(t, c, volume)
		if st := n.Status(); n.last(t) != rowsBefore+101 || st.Snapshot.Offset <= was.Offset {
			t.Errorf("%s: %d rows, %+v", name, n.last(t), st.Snapshot)
		}
		n.stop()
	}
}

// A change of role that cannot be kept does not happen: who asks is told why, the
// node goes on as it was, and can be asked again.
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
			_, err := n.ask("REPLICAOF", "NO", "ONE")
			if role, _ := n.Role(); err == nil ||
				!strings.Contains(err.Error(), "free some space there") ||
				role != replication.Replica {
				t.Errorf("it is a %v: %v", role, err)
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
