package replication_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// memNode is a running node on a file system in memory.
type memNode struct {
	*replication.Node
	done chan error // of Run
}

// diskConfig returns the configuration of a node on volume. The log is made durable only by
// explicit syncs. The directory dir holds only the lock.
func diskConfig(dir string, volume *memfs.FS) replication.Config {
	return replication.Config{
		Listen: "127.0.0.1:0", Dir: dir, FS: volume, Logger: zerolog.Nop(),
		Log: replog.Config{
			Memory: 64 << 10, SegmentSize: 16 << 10, Fsync: replog.Never,
			Reserve: -1,
		},
	}
}

// startOn opens and runs a node.
func startOn(c replication.Config) (*memNode, error) {
	n, err := replication.Open(c)
	if err != nil {
		return nil, err
	}
	d := &memNode{n, make(chan error, 1)}
	go func() { d.done <- n.Run(context.Background()) }()
	return d, nil
}

// stop closes the node and ignores errors of its disk.
func (d *memNode) stop() {
	d.Close()
	<-d.done
}

// write applies units. Each sets row:N and last to the next number N.
func (d *memNode) write(t *testing.T, units int) {
	t.Helper()
	for range units {
		i := strconv.Itoa(d.last(t) + 1)
		apply(t, d.Node,
			atomically(unit("SET", "row:"+i, i+strings.Repeat("x", 100)), unit("SET", "last", i)))
	}
}

// last checks that all rows of write up to some number are there, and returns that number.
func (d *memNode) last(t *testing.T) int {
	t.Helper()
	v, _ := d.Keyspace().Get("last")
	last, _ := strconv.Atoi(string(v))
	for i := range last {
		if v, ok := d.Keyspace().Get("row:" + strconv.Itoa(i+1)); !ok ||
			!strings.HasPrefix(string(v), strconv.Itoa(i+1)+"x") {
			t.Fatalf("row %d of %d is %q", i+1, last, v)
		}
	}
	if got := d.Keyspace().Len(); last > 0 && got != last+1 {
		t.Fatalf("%d keys, want %d", got, last+1)
	}
	return last
}

const (
	rowsBefore = 20     // durable rows in each directory with which a test starts
	newOffset  = 123456 // the offset of the data of installOther
)

var nowhere = "127.0.0.1:1" // an upstream that never answers

// diskCases are operations of a node after which the directory must hold the old state or the new
// one.
var diskCases = []struct {
	name     string
	upstream string
	least    int                            // the smallest number of file operations
	before   func(t *testing.T, n *memNode) // a preparation without faults
	do       func(n *memNode) error
	// is reports whether the state is the new one. A state that is neither the old nor the new one
	// fails the test.
	is func(t *testing.T, n *memNode) bool
}{
	{
		name: "promotion", upstream: nowhere, least: 6,
		do: func(n *memNode) error { return n.ReplicaOf(context.Background(), "") },
		is: func(t *testing.T, n *memNode) bool {
			role, _ := n.Role()
			if n.last(t) != rowsBefore {
				t.Errorf("%d rows", n.last(t))
			}
			return role == replication.Master
		},
	},
	{
		name: "hand-over", least: 12,
		do: func(n *memNode) error {
			if role, _ := n.Role(); role == replication.Replica {
				return nil
			}
			return n.HandOver(context.Background(), nowhere)
		},
		is: handedOver,
	},
	{
		name: "take-back", least: 8,
		before: func(t *testing.T, n *memNode) {
			if err := n.HandOver(t.Context(), nowhere); err != nil {
				t.Fatal(err)
			}
		},
		do: func(n *memNode) error {
			if role, _ := n.Role(); role == replication.Master {
				return nil
			}
			return n.AbortFailover(context.Background())
		},
		is: func(t *testing.T, n *memNode) bool { return !handedOver(t, n) },
	},
	{
		name: "snapshot", least: 15,
		before: func(t *testing.T, n *memNode) { n.write(t, 5) }, // not durable yet
		do: func(n *memNode) error {
			_, err := n.Snapshot(context.Background())
			return err
		},
		is: func(t *testing.T, n *memNode) bool {
			last, at := n.last(t), n.Status().Snapshot.Offset
			if last < rowsBefore || at > n.Offset() || at == 0 {
				t.Errorf("%d rows, snapshot of %d, log up to %d", last, at, n.Offset())
			}
			return last == rowsBefore+5
		},
	},
	{
		name: "full resync", upstream: nowhere, least: 25,
		do: installOther,
		is: func(t *testing.T, n *memNode) bool {
			st := n.Status()
			if st.ID != string(otherID) {
				if n.last(t) != rowsBefore || n.Offset() >= newOffset ||
					st.Snapshot.Offset > n.Offset() {
					t.Errorf("%d rows at %d: %+v", n.last(t), n.Offset(), st.Snapshot)
				}
				return false
			}
			if v, _ := n.Keyspace().Get("other"); string(v) != "data" || n.Keyspace().Len() != 1 ||
				n.Offset() != newOffset ||
				st.Snapshot.Offset != newOffset {
				t.Errorf("other is %q at %d: %+v", v, n.Offset(), st.Snapshot)
			}
			return true
		},
	},
	{
		name: "CONFIG REWRITE", least: 6,
		do: func(n *memNode) error {
			_, err := n.do("CONFIG", "SET", "repl-timeout", "77", "masterauth", "a secret")
			if err != nil {
				return err
			}
			_, err = n.do("CONFIG", "REWRITE")
			return err
		},
		is: func(t *testing.T, n *memNode) bool {
			got, err := n.do("CONFIG", "GET", "masterauth", "repl-timeout")
			secret := strings.Contains(got, "a secret")
			if err != nil || n.last(t) != rowsBefore ||
				secret != strings.Contains(got, "repl-timeout:77") {
				t.Errorf("%d rows, %q, %v", n.last(t), got, err)
			}
			return secret
		},
	},
}

// handedOver reports whether the node gave its role to nowhere. Only then it keeps sending the
// request for the takeover.
func handedOver(t *testing.T, n *memNode) bool {
	role, _ := n.Role()
	info, err := n.do("INFO", "replication")
	if requests := strings.Contains(info, "master_failover_state:failover-in-progress"); err != nil ||
		n.last(t) != rowsBefore ||
		requests != (role == replication.Replica) {
		t.Errorf("%d rows, a %v: %s, %v", n.last(t), role, info, err)
	}
	return role == replication.Replica
}

const otherID = identity.ID("0123456789012345678901234567890123456789")

// do sends one command as a client.
func (d *memNode) do(args ...any) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: d.Addr(), MaxRetries: -1})
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	return fmt.Sprint(v), err
}

// restarted starts the next node on a volume, and checks that no unfinished file is left there.
func restarted(t *testing.T, c replication.Config, volume *memfs.FS) *memNode {
	t.Helper()
	c.FS = volume
	n, err := startOn(c)
	if err != nil {
		t.Fatalf("start again: %v", err)
	}
	wantNothingUnfinished(t, volume, c.Dir)
	return n
}

func wantNothingUnfinished(t *testing.T, volume *memfs.FS, dir string) {
	t.Helper()
	for _, name := range volume.Names(dir) {
		if strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".new") {
			t.Errorf("%s is left", name)
		}
	}
}

// powerCut returns the contents of the volume after a power cut and a reboot.
func powerCut(t *testing.T, volume *memfs.FS, dir string, step int, seed uint64) *memfs.FS {
	t.Helper()
	volume = volume.PowerCut(rand.New(rand.NewPCG(uint64(step), seed)))
	id, err := identity.Load(volume, dir)
	if err != nil {
		t.Fatalf("power cut at step %d: %v", step, err)
	}
	id.Boot = "another boot"
	if err := id.Save(volume, dir); err != nil {
		t.Fatal(err)
	}
	return volume
}

// diskBefore returns the volume of a node that was stopped with rowsBefore rows, of which the
// snapshot holds a part and the log the rest.
func diskBefore(t *testing.T, dir, upstream string) *memfs.FS {
	t.Helper()
	volume := memfs.New()
	n := restarted(t, diskConfig(dir, volume), volume)
	n.SetComplete(true)
	n.write(t, rowsBefore/2)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.write(t, rowsBefore/2)
	if err := n.ReplicaOf(t.Context(), upstream); err != nil {
		t.Fatal(err)
	}
	n.stop()
	return volume
}

// For each operation in diskCases the power fails, or the process is killed, at each file
// operation. The next start finds the complete old or new state, and the new one if the operation
// had ended.
func TestPowerCutAtEveryStep(t *testing.T) {
	for _, tc := range diskCases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			base := diskBefore(t, dir, tc.upstream)
			for step, done := 1, false; !done; step++ {
				volume := base.Copy()
				c := diskConfig(dir, volume)
				n := restarted(t, c, volume)
				if tc.before != nil {
					tc.before(t, n)
				}
				volume.FailAt(step, nil)
				err := tc.do(n)
				done = !volume.Failed()
				if done && (err != nil || step <= tc.least) {
					t.Errorf("after %d steps: %v", step-1, err)
				}
				left := []*memfs.FS{volume.Copy()}
				for seed := range uint64(4) {
					left = append(left, powerCut(t, volume, dir, step, seed))
				}
				n.stop()
				for i, volume := range left {
					n := restarted(t, c, volume)
					if is := tc.is(t, n); done && !is {
						t.Errorf("left %d: the finished operation is lost", i)
					}
					n.stop()
					if t.Failed() {
						t.Fatalf("step %d, left %d: %q", step, i, volume.Names(dir))
					}
				}
			}
		})
	}
}

// A file operation that fails once leaves the old or the new state, and no unfinished file. Then
// the operation can be repeated, or the node has stopped because it does not know what is on its
// disk, and the next start repeats it. A full disk does not stop the node before its first change.
func TestFaultAtEveryStep(t *testing.T) {
	for _, tc := range diskCases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			base := diskBefore(t, dir, tc.upstream)
			for step, done := 1, false; !done; step++ {
				for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
					volume := base.Copy()
					c := diskConfig(dir, volume)
					n := restarted(t, c, volume)
					if tc.before != nil {
						tc.before(t, n)
					}
					volume.FailOnceAt(step, fault)
					first := tc.do(n)
					done = !volume.Failed()
					volume.FailAt(0, nil)
					again := tc.do(n)
					if again == nil {
						wantNothingUnfinished(t, volume, dir)
					} else {
						select {
						case <-n.done:
						case <-time.After(waitTimeout):
							t.Errorf("the node runs on, but the operation fails: %v", again)
						}
						n.Close()
						if t.Failed() {
							t.Fatalf("step %d, %v: %v", step, fault, first)
						}
						n = restarted(t, c, volume)
						tc.is(t, n)
						again = tc.do(n)
					}
					if again != nil || !tc.is(t, n) {
						t.Errorf("repeated: %v", again)
					}
					n.stop()
					if t.Failed() {
						t.Fatalf("step %d, %v: %v", step, fault, first)
					}
				}
			}
		})
	}
}

// installOther installs a data set of one key, as a full resync does.
func installOther(n *memNode) error {
	keys := keyspace.New(keyspace.Options{})
	if err := keys.Stage(unit("SET", "other", "data")); err != nil {
		return err
	}
	keys.Publish()
	return n.TakeResync(context.Background(), keys, otherID, newOffset)
}

// A start may have much to repair. At each of its file operations it is interrupted, or gets an
// error. The next start completes it. Files that an earlier process left unfinished are removed.
func TestStartAtEveryStep(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }

	killed := diskBefore(t, dir, "")
	n := restarted(t, diskConfig(dir, killed), killed)
	n.write(t, 5)
	killed = killed.Copy()
	n.stop()
	for _, name := range []string{
		"identity.tmp", "settings.tmp", "failover.tmp",
		"snapshot.new", "resync.new", "resync.new.tmp",
	} {
		killed.Put(at(name), []byte("unfinished"))
	}

	pending := diskBefore(t, dir, nowhere)
	complete := pending.Copy()
	n = restarted(t, diskConfig(dir, complete), complete)
	if err := installOther(n); err != nil {
		t.Fatal(err)
	}
	n.stop()
	pending.Put(at("resync.new"), complete.Data(at(fmt.Sprintf("snapshot-%d.rdb", newOffset))))
	id, err := identity.Load(pending, dir)
	if err != nil {
		t.Fatal(err)
	}
	id.History, id.Clean, id.CleanEnd, id.Pending, id.PendingAt = identity.NewHistory(
		otherID,
	), false, 0, true, newOffset
	if err := id.Save(pending, dir); err != nil {
		t.Fatal(err)
	}

	requesting := diskBefore(t, dir, "")
	n = restarted(t, diskConfig(dir, requesting), requesting)
	if err := n.HandOver(t.Context(), nowhere); err != nil {
		t.Fatal(err)
	}
	n.stop()

	// The log and snapshot of a replica are missing, and another node's snapshot is there.
	backup := memfs.New()
	id, err = identity.Load(diskBefore(t, dir, nowhere), dir)
	if err != nil {
		t.Fatal(err)
	}
	was := string(id.History.ID())
	name := fmt.Sprintf("snapshot-%d.rdb", newOffset)
	backup.Put(at("identity"), id.Append(nil))
	backup.Put(at(name), complete.Data(at(name)))

	for _, tc := range []struct {
		name  string
		base  *memfs.FS
		least int
		check func(t *testing.T, n *memNode, cut bool)
	}{
		{"killed", killed, 30, func(t *testing.T, n *memNode, cut bool) {
			if last := n.last(t); last < rowsBefore || !cut && last != rowsBefore+5 {
				t.Errorf("%d rows", last)
			}
		}},
		{"in a full resync", pending, 40, func(t *testing.T, n *memNode, _ bool) {
			v, _ := n.Keyspace().Get("other")
			if string(v) != "data" || n.Offset() != newOffset ||
				n.Status().ID != string(otherID) {
				t.Errorf("other is %q at %d", v, n.Offset())
			}
		}},
		// Once, a failed start forgot the request to the other node. Then each of the two followed
		// the other.
		{"in a failover", requesting, 15, func(t *testing.T, n *memNode, _ bool) {
			if !handedOver(t, n) {
				t.Error("the node is a master")
			}
		}},
		{"a backup from elsewhere", backup, 20, func(t *testing.T, n *memNode, _ bool) {
			st := n.Status()
			if !has(n.Node, "other") || st.Offset != newOffset || st.ID == was ||
				st.PreviousID != string(otherID) || st.Complete ||
				st.Role != replication.Replica {
				t.Errorf("the id was %s; now %+v", was, st)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := func(what string, volume *memfs.FS, cut bool) {
				t.Helper()
				n := restarted(t, diskConfig(dir, volume), volume)
				tc.check(t, n, cut)
				n.stop()
				if t.Failed() {
					t.Fatalf("%s: %q", what, volume.Names(dir))
				}
			}
			for step, done := 1, false; !done; step++ {
				volume := tc.base.Copy()
				volume.FailAt(step, nil)
				n, err := replication.Open(diskConfig(dir, volume))
				if err == nil {
					n.Close()
				}
				if done = !volume.Failed(); done && step <= tc.least {
					t.Errorf("the start took %d steps", step-1)
				}
				left := volume.Copy()
				for seed := range uint64(3) {
					next(fmt.Sprintf("power cut at step %d", step),
						powerCut(t, volume, dir, step, seed), true)
				}
				next(fmt.Sprintf("killed at step %d", step), left, false)
				for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
					volume := tc.base.Copy()
					volume.FailOnceAt(step, fault)
					if n, err := replication.Open(diskConfig(dir, volume)); err == nil {
						n.Close()
					}
					volume.FailAt(0, nil)
					next(fmt.Sprintf("%v at step %d", fault, step), volume, false)
				}
			}
		})
	}
}

// Snapshots and the log hold production data, and the settings hold a password. No other user may
// read a node's files.
func TestFilesArePrivate(t *testing.T) {
	c := config(t)
	c.Dir = filepath.Join(c.Dir, "node")
	c.Log.SegmentSize = 1 << 10
	n, stop := complete(t, c)
	fill(t, n, "row", 20)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	cl := client(t, n.Addr())
	if err := cl.ConfigSet(t.Context(), "masterauth", "a secret").Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ConfigRewrite(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	follower := config(t)
	follower.ReplicaOf = n.Addr()
	b, _ := start(t, follower)
	online(t, b)
	stop()
	for _, dir := range []string{c.Dir, follower.Dir} {
		files := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == follower.Dir { // made by the test
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if files++; info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		})
		if err != nil || files < 5 {
			t.Errorf("%d files: %v", files, err)
		}
	}
}

// A bad sector after the snapshot's offset is damage of the log and is repaired as such: the rows
// before it are kept, under a new id. Once, each start ended with an error.
func TestStartWithBadSector(t *testing.T) {
	dir := t.TempDir()
	volume := diskBefore(t, dir, "")
	c := diskConfig(dir, volume)
	n := restarted(t, c, volume)
	at, was := int64(n.Status().Snapshot.Offset)+1500, n.Status().ID
	n.stop()
	log := filepath.Join(dir, "log")
	volume.Damage(filepath.Join(log, volume.Names(log)[0]), at, 2)
	n = restarted(t, c, volume)
	if n.last(t) != rowsBefore || n.Status().ID != was {
		t.Errorf("after reads that failed twice: %d rows under %s", n.last(t), n.Status().ID)
	}
	n.stop()
	volume.Damage(filepath.Join(log, volume.Names(log)[0]), at, -1)
	n = restarted(t, c, volume)
	if last := n.last(t); last < rowsBefore/2 || last == rowsBefore || n.Status().ID == was {
		t.Errorf("%d rows under %s", last, n.Status().ID)
	}
	n.write(t, 1)
	n.stop()
}
