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

// gated is start for a node whose snapshots wait: each sends on begun and goes
// on when it can receive from gate.
func gated(t *testing.T, c replication.Config) (n *replication.Node, begun, gate chan struct{}) {
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

// Who asks for a snapshot gets what was there when it asked, though an older one
// is being written.
func TestSnapshotIsNotOlderThanAsked(t *testing.T) {
	n, begun, gate := gated(t, config(t))
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
	gate <- struct{}{} // for the one who asked when the second had begun
	for range 2 {
		if st := <-done; st.Offset < at || st.Written < 2 {
			t.Errorf("it gets %+v, but asked at %d", st, at)
		}
	}
}

// rewrite puts 4 MiB in the place of what it put there before.
func rewrite(t *testing.T, n *replication.Node) {
	t.Helper()
	for i := range 64 {
		apply(t, n, unit("SET", "k"+strconv.Itoa(i), strings.Repeat("x", 64<<10)))
	}
}

// snapshotting has a snapshot taken and tells how that ends.
func snapshotting(n *replication.Node) (done chan error) {
	done = make(chan error, 1)
	go func() {
		_, err := n.Snapshot(context.Background())
		done <- err
	}()
	return done
}

// While a slow snapshot keeps too much of what has been replaced, writing is
// slowed; then it is aborted, which frees it, and the next one is taken.
func TestSnapshotMemoryIsBounded(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	n, begun, gate := gated(t, c)
	rewrite(t, n)
	done := snapshotting(n)
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
		t.Errorf("after it: %+v", st)
	}
	gate <- struct{}{}
	if err := <-snapshotting(n); err != nil {
		t.Error(err)
	}
	rewrite(t, n)
	st := n.Status()
	if st.Snapshot.Err != "" || st.Snapshot.Written != 1 || st.Held != "" {
		t.Errorf("after the next one: %+v", st)
	}
	if m := st.Memory; m.Live < 4<<20 || m.Mapped < m.Live {
		t.Errorf("memory is %+v", m)
	}
	info := client(t, n.Addr()).Info(t.Context(), "memory").Val()
	for _, field := range []string{
		"used_memory:",
		"used_memory_dataset:" + strconv.FormatInt(st.Memory.Live, 10),
		"rowfall_arena_mapped:" + strconv.FormatInt(st.Memory.Mapped, 10),
	} {
		if !strings.Contains(info, field) {
			t.Errorf("INFO memory has no %s: %s", field, info)
		}
	}
	settings := client(t, n.Addr()).ConfigGet(t.Context(), "snapshot-memory").Val()
	if got := settings["snapshot-memory"]; got != "1048576" {
		t.Errorf("CONFIG GET says %q", got)
	}
}

// Those who come long after the first snapshot was begun, which is large, read it
// as it grows, as if it had its size already, and cause no second one.
func TestLateJoinersOfTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Log.SegmentSize = 16 << 20
	n, begun, gate := gated(t, c)
	n.SetComplete(true)
	big(t, n, 80)
	join := func() *raw {
		r := dialRaw(t, n.Addr())
		ask(r, "?", "-1", "eof", "psync2", "rdb-listpack")
		return r
	}
	replicas := []*raw{join()}
	<-begun
	big(t, n, 70) // more log than a small one would do for
	replicas = append(replicas, join(), join())
	gate <- struct{}{}
	for _, r := range replicas {
		go io.Copy(io.Discard, r.r) //nolint:errcheck // until the test ends it
	}
	eventually(t, "it is written",
		func() bool { return n.Status().Snapshot.Written == 1 && !n.Status().Snapshot.Running })
	replicas = append(replicas, join())
	if got := len(begun); got > 0 {
		t.Errorf("%d snapshots more were begun for %d replicas", got, len(replicas))
	}
}

// Whoever finds the growing snapshot too old waits for it, and takes it if at its
// whole size it will do.
func TestFinishedSnapshotIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Log.SegmentSize = 16 << 20
	n, begun, gate := gated(t, c)
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
		t.Errorf("it is not told to wait but %q", got)
	}
	gate <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if got := late.reply(); !strings.HasPrefix(got, "+FULLRESYNC ") || len(begun) > 0 {
		t.Errorf("got %q; %d snapshots more were begun", got, len(begun))
	}
}

// A snapshot that fails takes its file with it: on a full disk that would be what
// keeps the log from growing, for ever.
func TestFailedSnapshotLeavesNoFile(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	n, begun, gate := gated(t, c)
	rewrite(t, n)
	done := snapshotting(n)
	<-begun
	rewrite(t, n)
	gate <- struct{}{}
	if err := <-done; err == nil {
		t.Fatal("the snapshot did not fail")
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "snapshot*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// A clean stop writes no snapshot that was not due, and where one is, the
// directory is marked clean before it is begun: a kill then loses nothing.
func TestSnapshotAtTheStop(t *testing.T) {
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
			t.Errorf("due %v: when a snapshot began the directory was clean: %v", due, clean)
		}
	}
}

// A full resync takes the data away that a snapshot is being written of: it is given
// up, and what it kept holds nobody back any more.
func TestFullResyncEndsSnapshot(t *testing.T) {
	c := config(t)
	c.SnapshotMemory = 1 << 20
	up := script(t, func(int, string) string { return fullResync(5, "") })
	n, begun, gate := gated(t, c)
	rewrite(t, n)
	done := snapshotting(n)
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
	eventually(t, "it has the new data",
		func() bool { return n.Offset() == 5 && n.Keyspace().Len() == 0 })
	if got := n.Status().Held; got != "" {
		t.Errorf("it is still slowed by %q", got)
	}
	gate <- struct{}{}
	if err := <-done; err == nil ||
		!strings.Contains(err.Error(), "a full resync replaced the data") {
		t.Errorf("the snapshot ended with %v", err)
	}
}

// The data are all in memory, and yet every full resync ended at the file on disk
// that could not be read, for ever, and INFO said that all was well.
func TestSnapshotThatCannotBeRead(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(volume *memfs.FS, file string) error
		capa  string
		opens bool // the fault is seen before anything is sent
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
			n, begun, gate := gated(t, c)
			n.SetComplete(true)
			apply(t, n, unit("SET", "k", strings.Repeat("v", 200)))
			gate <- struct{}{}
			st, err := n.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			file := filepath.Join(c.Dir, "snapshot-"+st.Offset.String()+".rdb")
			if err := tc.spoil(volume, file); err != nil {
				t.Fatal(err)
			}
			apply(t, n, unit("SET", "k2", "v"))
			r := dialRaw(t, n.Addr())
			answer := ask(r, "?", "-1", tc.capa)
			if !tc.opens {
				if _, err := io.Copy(io.Discard, r); err != nil {
					t.Fatal(err)
				}
			}
			<-begun // another is written without anybody's asking
			now := n.Status()
			if got := now.Snapshot.Err; !strings.Contains(got,
				st.Offset.String()+".rdb cannot be read") ||
				now.LogStart > st.Offset {
				t.Errorf("it says %q, and the log begins at %s", got, now.LogStart)
			}
			info := client(t, n.Addr())
			status := field(info, "persistence", "rdb_last_bgsave_status")
			got := status + field(info, "persistence", "rowfall_snapshot_error")
			if !strings.HasPrefix(got, "err"+c.Dir) {
				t.Errorf("INFO says %q", got)
			}
			gate <- struct{}{}
			if !tc.opens {
				r = dialRaw(t, n.Addr())
				answer = ask(r, "?", "-1", tc.capa)
			}
			if file, _ := payload(r); answer[0] != "+FULLRESYNC" || count(t, file) != 2 {
				t.Errorf("the next gets %q and %d keys", answer, count(t, file))
			}
			eventually(t, "it is in its place",
				func() bool { return n.Status().Snapshot.Offset > st.Offset })
			if got := n.Status().Snapshot.Err; got != "" {
				t.Errorf("then it says %q", got)
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

// The same on a real disk, where the kernel sends the file: it was cut.
func TestSnapshotThatIsCut(t *testing.T) {
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
	ask(r, "?", "-1", "rdb-listpack")
	if sent, err := io.ReadAll(r.r); err != nil || int64(len(sent)) > st.Size {
		t.Errorf("%d bytes come, and %v", len(sent), err)
	}
	eventually(t, "another is written", func() bool { return n.Status().Snapshot.Written == 2 })
	r = dialRaw(t, n.Addr())
	ask(r, "?", "-1", "rdb-listpack")
	if file, _ := payload(r); count(t, file) != n.Keyspace().Len() {
		t.Errorf("%d keys come", count(t, file))
	}
}

// Whoever takes a snapshot gets it while writes go on, and its file is what the log is kept from.
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
		t.Errorf("the log begins at %d, after the snapshot of %d", st.LogStart, st.Snapshot.Offset)
	}
	stop()
	n, _ = start(t, c)
	if n.Keyspace().Len() != 10 || n.Status().ID != st.ID {
		t.Errorf("after the restart: %+v", n.Status())
	}
}

// A snapshot that fails is told once in the log, and to who asked for it, whether it was
// asked for or is the one at the stop.
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
	eventually(t, "it is logged", func() bool { return log.count(errFailingWriter.Error()) > 0 })
	if got := log.count(errFailingWriter.Error()); got != 1 {
		t.Errorf("it is logged %d times: %s", got, log.buf.String())
	}
	n.SnapshotEvery(1)
	stop()
	if got := log.count(errFailingWriter.Error()); got != 2 {
		t.Errorf("after the stop it is logged %d times: %s", got, log.buf.String())
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
