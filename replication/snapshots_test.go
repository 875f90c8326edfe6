package replication_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// startGated starts a node whose snapshots wait: each sends on begun, and continues when it can
// receive from gate.
func startGated(t *testing.T, c replication.Config) (
	n *replication.Node, begun, gate chan struct{},
) {
	t.Helper()
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	begun, gate = make(chan struct{}, 16), make(chan struct{}, 16)
	n.BeforeSnapshots(func() {
		begun <- struct{}{}
		<-gate
	})
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	t.Cleanup(func() {
		close(gate)
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n, begun, gate
}

// Snapshot returns a snapshot of the offset of its call or later, although an older one is being
// written.
func TestSnapshotIsNotOlderThanRequest(t *testing.T) {
	n, begun, gate := startGated(t, config(t))
	apply(t, n, unit("SET", "a", "1"))
	c := client(t, n.Addr())
	if err := c.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	<-begun
	at := apply(t, n, unit("SET", "a", "2"))
	done := make(chan replication.SnapshotStatus, 2)
	for range 2 {
		go func() {
			st, err := n.Snapshot(context.Background())
			if err != nil {
				t.Error(err)
			}
			done <- st
		}()
	}
	gate <- struct{}{}
	gate <- struct{}{}
	gate <- struct{}{} // for a call after the start of the second snapshot
	for range 2 {
		if st := <-done; st.Offset < at || st.Written < 2 {
			t.Errorf("Snapshot returns %+v, but was called at %d", st, at)
		}
	}
}

// rewrite sets 64 keys of 64 KiB, 4 MiB in all, and replaces their earlier values.
func rewrite(t *testing.T, n *replication.Node) {
	t.Helper()
	for i := range 64 {
		apply(t, n, unit("SET", "k"+strconv.Itoa(i), strings.Repeat("x", 64<<10)))
	}
}

// startSnapshot starts a snapshot. Its result is sent on done.
func startSnapshot(n *replication.Node) (done chan error) {
	done = make(chan error, 1)
	go func() {
		_, err := n.Snapshot(context.Background())
		done <- err
	}()
	return done
}

// While a slow snapshot pins too much replaced data, writes are slowed. Then the snapshot is
// aborted, which releases the data, and the next snapshot succeeds.
func TestSnapshotMemoryIsBounded(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	n, begun, gate := startGated(t, c)
	rewrite(t, n)
	done := startSnapshot(n)
	<-begun
	rewrite(t, n)
	if got := n.Status().Held; !strings.Contains(got, "snapshot_memory") {
		t.Errorf("Apply was slowed by %q", got)
	}
	gate <- struct{}{}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "aborted") {
		t.Errorf("the snapshot ended with %v", err)
	}
	if st := n.Status(); !strings.Contains(st.Snapshot.Err, "aborted") || st.Held != "" ||
		st.Snapshot.Written != 0 {
		t.Errorf("after the snapshot: %+v", st)
	}
	gate <- struct{}{}
	if err := <-startSnapshot(n); err != nil {
		t.Error(err)
	}
	rewrite(t, n)
	st := n.Status()
	if st.Snapshot.Err != "" || st.Snapshot.Written != 1 || st.Held != "" {
		t.Errorf("after the next one: %+v", st)
	}
	if m := st.Memory; m.Live < 4<<20 || m.Mapped < m.Live || m.Table == 0 || m.Window == 0 {
		t.Errorf("memory is %+v", m)
	}
	info := client(t, n.Addr()).Info(t.Context(), "memory").Val()
	for _, field := range []string{
		"used_memory:",
		"used_memory_dataset:" + strconv.FormatInt(st.Memory.Live, 10),
		"rowfall_arena_mapped:" + strconv.FormatInt(st.Memory.Mapped, 10),
		"rowfall_table_size:" + strconv.FormatInt(st.Memory.Table, 10),
		"rowfall_log_window_size:" + strconv.FormatInt(st.Memory.Window, 10),
	} {
		if !strings.Contains(info, field) {
			t.Errorf("INFO memory has no %s: %s", field, info)
		}
	}
	settings := client(t, n.Addr()).ConfigGet(t.Context(), "snapshot-memory").Val()
	if got := settings["snapshot-memory"]; got != "1048576" {
		t.Errorf("CONFIG GET returns %q", got)
	}
}

// Replicas that join long after the start of a large first snapshot read it while it grows, and
// start no second one. Its expected size counts, not its present size.
func TestLateJoinersOfTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Log.SegmentSize = 16 << 20
	n, begun, gate := startGated(t, c)
	n.SetComplete(true)
	big(t, n, 80)
	join := func() *rawConn {
		r := dialRaw(t, n.Addr())
		requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
		return r
	}
	replicas := []*rawConn{join()}
	<-begun
	big(t, n, 70) // more log than a small snapshot may be old
	replicas = append(replicas, join(), join())
	gate <- struct{}{}
	for _, r := range replicas {
		go io.Copy(io.Discard, r.r) //nolint:errcheck // ends with the test
	}
	eventually(t, "the snapshot is written",
		func() bool { return n.Status().Snapshot.Written == 1 && !n.Status().Snapshot.Running })
	replicas = append(replicas, join())
	if got := len(begun); got > 0 {
		t.Errorf("%d more snapshots were started for %d replicas", got, len(replicas))
	}
}

// A replica for which the growing snapshot is too old waits for its end, and gets it if the
// complete file is large enough for its age.
func TestFinishedSnapshotIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Log.SegmentSize = 16 << 20
	n, begun, gate := startGated(t, c)
	n.SetComplete(true)
	field := strings.Repeat("0123456789abcdef", 3<<10)
	// The name of the field is in memory once, and in the file once for each hash.
	for i := range 1700 {
		apply(t, n, unit("HSET", "row:"+strconv.Itoa(i), field, "value"))
	}
	v := strings.Repeat("0123456789abcdef", 64<<10)
	first := make(chan error, 1)
	go func() {
		_, err := n.Snapshot(context.Background())
		first <- err
	}()
	<-begun
	for range 70 {
		apply(t, n, unit("SET", "k", v))
	}
	late := dialRaw(t, n.Addr())
	for _, capa := range []string{"eof", "psync2", "rdb-listpack"} {
		late.do("REPLCONF", "capa", capa)
	}
	late.send("PSYNC", "?", "-1")
	if got := late.line(); got != "" {
		t.Errorf("the replica is sent %q instead of an empty line", got)
	}
	gate <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if got := late.reply(); !strings.HasPrefix(got, "+FULLRESYNC ") || len(begun) > 0 {
		t.Errorf("got %q; %d more snapshots were started", got, len(begun))
	}
}

// A failed snapshot removes its file. On a full disk the file would keep the log from growing for
// ever.
func TestFailedSnapshotLeavesNoFile(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	n, begun, gate := startGated(t, c)
	rewrite(t, n)
	done := startSnapshot(n)
	<-begun
	rewrite(t, n)
	gate <- struct{}{}
	if err := <-done; err == nil {
		t.Fatal("the snapshot did not fail")
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "snapshot*")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// A clean stop writes a snapshot only if one is due. The directory is marked clean before that
// snapshot, so that a kill during it loses nothing.
func TestSnapshotAtStop(t *testing.T) {
	for _, due := range []bool{false, true} {
		c := config(t)
		c.SnapshotEvery = 1 << 30
		n, err := replication.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		var clean []bool
		n.BeforeSnapshots(func() {
			id, err := identity.Load(disk.SystemFS{}, c.Dir)
			clean = append(clean, err == nil && id.Clean)
		})
		done := make(chan error, 1)
		go func() { done <- n.Run(context.Background()) }()
		big(t, n, 66)
		if due {
			n.SnapshotEvery(1 << 20)
		}
		n.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if due && !slices.Equal(clean, []bool{true}) || !due && len(clean) > 0 {
			t.Errorf("due %v: at the start of each snapshot the directory was clean: %v",
				due, clean)
		}
	}
}

// A full resync replaces the data of which a snapshot is being written. The snapshot is aborted,
// and the data that it pinned no longer slow any write.
func TestFullResyncEndsSnapshot(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	up := script(t, func(int, string) string { return fullResync(5, "") })
	n, begun, gate := startGated(t, c)
	rewrite(t, n)
	done := startSnapshot(n)
	<-begun
	// How much memory a value takes differs under the race detector.
	for i := 0; i < 64 && n.Status().Held == ""; i++ {
		apply(t, n, unit("SET", "k"+strconv.Itoa(i), strings.Repeat("y", 64<<10)))
	}
	if got := n.Status().Held; !strings.Contains(got, "snapshot_memory") {
		t.Errorf("Apply is slowed by %q", got)
	}
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node has the new data",
		func() bool { return n.Offset() == 5 && n.Keyspace().Len() == 0 })
	if got := n.Status().Held; got != "" {
		t.Errorf("Apply is still slowed by %q", got)
	}
	gate <- struct{}{}
	if err := <-done; err == nil ||
		!strings.Contains(err.Error(), "a full resync replaced the data") {
		t.Errorf("the snapshot ended with %v", err)
	}
}

// An unreadable snapshot file is replaced by a new one from memory, and INFO shows the fault. Once,
// each full resync ended at the unreadable file, without end, and INFO showed no fault.
func TestUnreadableSnapshot(t *testing.T) {
	for _, tc := range []struct {
		name    string
		corrupt func(volume *memfs.FS, file string) error
		capa    string
		early   bool // the fault is found before anything is sent
	}{
		{"bad sector", badSector, "rdb-listpack", false},
		{"bad sector, plain", badSector, "psync2", false},
		{"flipped bit, plain", flip, "psync2", false},
		{"gone", (*memfs.FS).Remove, "rdb-listpack", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			volume := memfs.New()
			c := diskConfig(t.TempDir(), volume)
			c.SnapshotReuse = 1 << 20
			n, begun, gate := startGated(t, c)
			n.SetComplete(true)
			apply(t, n, unit("SET", "k", strings.Repeat("v", 200)))
			gate <- struct{}{}
			st, err := n.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			file := filepath.Join(c.Dir, "snapshot-"+st.Offset.String()+".rdb")
			if err := tc.corrupt(volume, file); err != nil {
				t.Fatal(err)
			}
			apply(t, n, unit("SET", "k2", "v"))
			r := dialRaw(t, n.Addr())
			answer := requestSync(r, "?", "-1", tc.capa)
			if !tc.early {
				if _, err := io.Copy(io.Discard, r); err != nil {
					t.Fatal(err)
				}
			}
			<-begun // another snapshot starts by itself
			now := n.Status()
			if got := now.Snapshot.Err; !strings.Contains(got,
				st.Offset.String()+".rdb cannot be read") ||
				now.LogStart > st.Offset {
				t.Errorf("the error is %q, and the log starts at %s", got, now.LogStart)
			}
			info := client(t, n.Addr())
			status := field(info, "persistence", "rdb_last_bgsave_status")
			got := status + field(info, "persistence", "rowfall_snapshot_error")
			if !strings.HasPrefix(got, "err"+c.Dir) {
				t.Errorf("INFO shows %q", got)
			}
			gate <- struct{}{}
			if !tc.early {
				r = dialRaw(t, n.Addr())
				answer = requestSync(r, "?", "-1", tc.capa)
			}
			if file, _ := payload(r); answer[0] != "+FULLRESYNC" || count(t, file) != 2 {
				t.Errorf("the next replica gets %q and %d keys", answer, count(t, file))
			}
			eventually(t, "the new snapshot is installed",
				func() bool { return n.Status().Snapshot.Offset > st.Offset })
			if got := n.Status().Snapshot.Err; got != "" {
				t.Errorf("after it the error is %q", got)
			}
		})
	}
}

func badSector(volume *memfs.FS, file string) error {
	volume.Damage(file, 150, -1)
	return nil
}

func flip(volume *memfs.FS, file string) error {
	f, err := volume.Open(file, os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("damage"), 150)
	return err
}

// A truncated snapshot file is replaced, too. This test uses a real disk, where the kernel sends
// the file.
func TestTruncatedSnapshot(t *testing.T) {
	c := config(t)
	n, _ := complete(t, c)
	fill(t, n, "a", 100)
	st, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(snapshotsIn(t, c.Dir)[0], st.Size/2); err != nil {
		t.Fatal(err)
	}
	r := dialRaw(t, n.Addr())
	requestSync(r, "?", "-1", "rdb-listpack")
	if sent, err := io.ReadAll(r.r); err != nil || int64(len(sent)) > st.Size {
		t.Errorf("%d bytes were sent, and %v", len(sent), err)
	}
	eventually(t, "another snapshot is written",
		func() bool { return n.Status().Snapshot.Written == 2 })
	r = dialRaw(t, n.Addr())
	requestSync(r, "?", "-1", "rdb-listpack")
	if file, _ := payload(r); count(t, file) != n.Keyspace().Len() {
		t.Errorf("%d keys were sent", count(t, file))
	}
}

// Snapshots are written while units are applied, and the log before the newest snapshot is removed.
func TestSnapshotsBoundTheLog(t *testing.T) {
	c := config(t)
	c.Log.Keep, c.Log.SegmentSize, c.SnapshotEvery = 64<<10, 16<<10, 128<<10
	n, stop := start(t, c)
	for i := range 3000 {
		apply(t, n, unit("SET", "k"+strconv.Itoa(i%10), strings.Repeat("x", 1000)))
	}
	eventually(t, "the log is trimmed", func() bool {
		st := n.Status()
		return st.LogStart > 0 && st.Snapshot.Offset > 0 && !st.Snapshot.Running &&
			len(snapshotsIn(t, c.Dir)) == 1
	})
	st := n.Status()
	if st.LogStart > st.Snapshot.Offset {
		t.Errorf("the log starts at %d, after the snapshot of %d", st.LogStart, st.Snapshot.Offset)
	}
	stop()
	n, _ = start(t, c)
	if n.Keyspace().Len() != 10 || n.Status().ID != st.ID {
		t.Errorf("after the restart: %+v", n.Status())
	}
}

// The failure of a snapshot is logged once and returned to its caller. That holds also for the
// snapshot at the stop.
func TestFailedSnapshotIsLoggedOnce(t *testing.T) {
	c := config(t)
	var log logText
	c.Logger = zerolog.New(&log)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	n.SnapshotsThrough(func(io.Writer) io.Writer { return failingWriter{} })
	stop := run(t, n)
	apply(t, n, unit("SET", "k", "v"))
	if _, err := n.Snapshot(t.Context()); !errors.Is(err, errFailingWriter) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the failure is logged",
		func() bool { return log.count(errFailingWriter.Error()) > 0 })
	if got := log.count(errFailingWriter.Error()); got != 1 {
		t.Errorf("the failure is logged %d times: %s", got, log.buf.String())
	}
	n.SnapshotEvery(1)
	stop()
	if got := log.count(errFailingWriter.Error()); got != 2 {
		t.Errorf("after the stop the failure is logged %d times: %s", got, log.buf.String())
	}
}

var errFailingWriter = errors.New("the writer fails")

type failingWriter struct{}

func snapshotsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "snapshot-*.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
