package replication_test

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// overwrite sets new values of 64 KiB on 16 keys, until the log has grown by that many megabytes.
// The volume may be full for less than a minute at a time.
func overwrite(t *testing.T, n *replication.Node, megabytes int) {
	t.Helper()
	_, term := n.Role()
	for i := range megabytes * 16 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := n.Apply(ctx, term,
			unit("SET", "k"+strconv.Itoa(i%16), strings.Repeat(strconv.Itoa(i%10), 64<<10)))
		cancel()
		if err != nil {
			t.Fatalf("after %d MB of log from %d on: %v", i/16, n.Status().LogStart, err)
		}
	}
}

// logBytes returns the size of all files of a node's log.
func logBytes(volume *memfs.FS, dir string) (size int) {
	dir = filepath.Join(dir, "log")
	for _, name := range volume.Names(dir) {
		size += len(volume.Data(filepath.Join(dir, name)))
	}
	return size
}

// A node on a small volume never stops for lack of room: snapshots shorten the log when it reaches
// log.keep, and when the volume gets full. There is always room for a snapshot. Once, a snapshot
// was due only after 256 MiB of log: the log filled the volume first, the snapshot found no room,
// and the node stopped for good.
func TestSmallVolume(t *testing.T) {
	for _, tc := range []struct {
		name    string
		keep    int64
		reserve int64
		most    int // bytes of log; 0: what the volume has
	}{
		{name: "small log.keep", keep: 4 << 20, most: 7 << 20},
		{name: "log.keep larger than the volume"},
		{name: "no reserve", reserve: -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, volume := config(t), memfs.New()
			c.FS = volume
			c.Log.Keep, c.Log.Reserve = tc.keep, tc.reserve
			n, stop := complete(t, c)
			volume.Leave(16 << 20)
			for range 20 {
				overwrite(t, n, 3)
				if size := logBytes(volume, c.Dir); tc.most > 0 && size > tc.most+3<<20 {
					t.Fatalf("%d bytes of log", size)
				}
			}
			if tc.most > 0 {
				eventually(t, "the log is as short as log.keep",
					func() bool { return logBytes(volume, c.Dir) < tc.most })
			}
			if st := n.Status(); st.Snapshot.Err != "" || st.Snapshot.Written > 60 {
				t.Errorf("snapshots: %+v", st.Snapshot)
			}
			at := n.Offset()
			stop()
			n, _ = start(t, c)
			if n.Offset() != at || n.Keyspace().Len() != 16 {
				t.Errorf("after a restart it holds %d keys at %d, want 16 at %d",
					n.Keyspace().Len(), n.Offset(), at)
			}
		})
	}
}

// On a full volume the log that only a loading replica needs is dropped, with the link of that
// replica. A replica that keeps up is not affected. Once, a replica that never acknowledged its
// snapshot kept the log until the volume was full, and the writer and all other replicas stalled.
func TestFullVolumeDropsReplicasBeforeTheWriter(t *testing.T) {
	c, volume, text := config(t), memfs.New(), &logText{}
	c.FS, c.Logger = volume, zerolog.New(text)
	n, _ := complete(t, c)
	overwrite(t, n, 1)
	healthy, _ := follow(t, n.Addr())
	online(t, healthy)
	r := dialRaw(t, n.Addr())
	requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	payload(r)
	defer every(50*time.Millisecond,
		func() { r.Write([]byte("\n")) })() //nolint:errcheck // the connection may be closed
	eventually(t, "the replica loads", func() bool { return len(n.Status().Replicas) == 2 })
	volume.Leave(16 << 20)
	for range 20 {
		overwrite(t, n, 3)
		eventually(t, "the healthy replica has everything",
			func() bool { return healthy.Offset() == n.Offset() })
	}
	if st := n.Status(); len(st.Replicas) != 1 || st.FullSyncs != 2 ||
		st.Replicas[0].State != replication.ReplicaOnline {
		t.Errorf("replicas: %+v, %d full resyncs", st.Replicas, st.FullSyncs)
	}
	if !text.has("the volume is full: the log up to offset") {
		t.Errorf("the reason is not logged: %s", text.buf.String())
	}
}

// notCreated returns a file system on volume that fails to create a snapshot's file while failing
// is set.
func notCreated(volume *memfs.FS) (disk.FS, *atomic.Bool) {
	failing := &atomic.Bool{}
	return faultfs.Wrap(volume, faultfs.If(
		func(op *faultfs.Op) bool { return op.Creates() && failing.Load() },
		faultfs.If(faultfs.Creates("snapshot.new"), faultfs.Fail(syscall.EMFILE)))), failing
}

// A snapshot whose offset is fixed when the volume is as full as units may make it has its room,
// for any amount of writes before its first byte. Once, the first record after that offset, SELECT,
// allocated room for 4 MiB of units, which the snapshot lacked. After that no log could be removed.
func TestWritesLeaveRoomForARunningSnapshot(t *testing.T) {
	c, volume := config(t), memfs.New()
	c.Log = replog.Config{Memory: 1 << 20}
	var failing *atomic.Bool
	c.FS, failing = notCreated(volume)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	begun, write := make(chan struct{}, 8), make(chan struct{}, 1)
	n.BeforeSnapshots(func() {
		begun <- struct{}{}
		<-write
	})
	run(t, n)
	n.SetComplete(true)
	overwrite(t, n, 2)
	write <- struct{}{}
	// The node knows the size of the next snapshot then.
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-begun
	failing.Store(true)
	volume.Leave(16 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer close(write)
	defer cancel()
	writer.Go(func() {
		_, term := n.Role()
		for i := 0; ctx.Err() == nil; i++ {
			_, err := n.Apply(ctx, term,
				unit("SET", "k"+strconv.Itoa(i%16), strings.Repeat("x", 64<<10)))
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	full := func(running bool) func() bool {
		return func() bool {
			st := n.Status()
			return st.Snapshot.Running == running && (running || st.Snapshot.Err != "") &&
				strings.Contains(st.Held, "kept for the next snapshot")
		}
	}
	for i := range int64(3) {
		eventually(t, "the volume is full, and a snapshot has failed", full(false))
		failing.Store(false)
		n.SnapshotDue() // without the pause after a failure
		// An attempt that is running now may still fail; this one has its file.
		eventually(t, "a snapshot has its file", func() bool { return len(begun) > 0 })
		<-begun
		eventually(t, "the volume is full after the next snapshot's offset", full(true))
		failing.Store(true)
		write <- struct{}{}
		eventually(t, "the snapshot is written", func() bool {
			st := n.Status().Snapshot
			if st.Written < i+2 && strings.Contains(st.Err, "no space") {
				t.Fatalf("snapshot %d: %s", i, st.Err)
			}
			return st.Written == i+2
		})
	}
}

// A snapshot that fails for lack of file descriptors, or another reason than room, leaves its room
// to the next snapshot. Once, the log took that room, and no snapshot could be written any more.
func TestFailedSnapshotLeavesRoomForTheNext(t *testing.T) {
	c, volume := config(t), memfs.New()
	var failing *atomic.Bool
	c.FS, failing = notCreated(volume)
	n, _ := complete(t, c)
	overwrite(t, n, 1)
	failing.Store(true)
	volume.Leave(16 << 20)
	_, term := n.Role()
	eventually(t, "the volume is full", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := n.Apply(ctx, term, unit("SET", "k", strings.Repeat("x", 64<<10)))
		st := n.Status()
		return err != nil && strings.Contains(err.Error(), "free some space") &&
			st.Snapshot.Err != "" && !st.Snapshot.Running
	})
	failing.Store(false)
	n.SnapshotDue() // without the pause after a failure
	overwrite(t, n, 20)
}

// A full resync whose data are larger than the free room gets room from log that only replicas
// need. Once, it failed repeatedly while log.keep allowed that log.
func TestFullResyncFindsRoomInTheLog(t *testing.T) {
	a, _ := complete(t, config(t))
	c, volume := config(t), memfs.New()
	c.FS, c.ReplicaOf = volume, a.Addr()
	b, _ := start(t, c)
	overwrite(t, a, 12)
	eventually(t, "the replica has all data", func() bool { return b.Offset() == a.Offset() })
	if _, err := b.Snapshot(t.Context()); err != nil { // a restart needs no log then
		t.Fatal(err)
	}
	other, _ := complete(t, config(t))
	for i := range 128 {
		apply(t, other, unit("SET", "k"+strconv.Itoa(i), strings.Repeat("x", 64<<10)))
	}
	volume.Leave(4 << 20) // of the 8 MiB
	if err := b.ReplicaOf(t.Context(), other.Addr()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has the other master's data",
		func() bool { return b.Keyspace().Len() == 128 })
	if n := other.Status().FullSyncs; n != 1 {
		t.Errorf("%d full resyncs", n)
	}
}

// log.keep can change while the node runs. The change takes effect at once, and CONFIG REWRITE
// keeps it over a restart.
func TestKeepIsChangedAtRunTime(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20}
	n, stop := complete(t, c)
	overwrite(t, n, 12)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	overwrite(t, n, 1) // the rest of the segment that holds the snapshot's offset
	if got := n.Status().LogStart; got != 0 {
		t.Fatalf("the log begins at %d", got)
	}
	const setting = "repl-backlog-size"
	cl := client(t, n.Addr())
	for value, want := range map[string]string{
		"0": "", "-2": "", "x": "", "1.5mb": "",
		"20gb": "21474836480", "-1": "-1", "3mb": "3145728",
	} {
		err := cl.ConfigSet(t.Context(), setting, value).Err()
		got := cl.ConfigGet(t.Context(), setting).Val()[setting]
		if (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %v, and it is %s", value, err, got)
		}
	}
	if err := cl.ConfigSet(t.Context(), "repl-backlog-size", "3mb").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log is shortened",
		func() bool { st := n.Status(); return st.Offset-st.LogStart <= 3<<20 })
	if err := cl.ConfigRewrite(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	stop()
	n, _ = complete(t, c)
	got := client(t, n.Addr()).ConfigGet(t.Context(), setting).Val()[setting]
	if got != "3145728" {
		t.Errorf("after a restart the value is %s", got)
	}
	overwrite(t, n, 12)
	eventually(t, "the log is short again",
		func() bool { st := n.Status(); return st.Offset-st.LogStart <= 4<<20 })
}
