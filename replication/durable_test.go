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

// onDisk is a node on a file system in memory.
type onDisk struct {
	*replication.Node
	done chan error // of Run
}

// diskConfig is of a node whose log is made durable by nothing but what asks for
// it. Its directory is used for the lock alone.
func diskConfig(dir string, volume *memfs.FS) replication.Config {
	return replication.Config{
		Listen: "127.0.0.1:0", Dir: dir, FS: volume, Logger: zerolog.Nop(),
		Log: replog.Config{
			Memory: 64 << 10, SegmentSize: 16 << 10, Fsync: replog.Never,
			Reserve: -1,
		},
	}
}

func startOn(c replication.Config) (*onDisk, error) {
	n, err := replication.Open(c)
	if err != nil {
		return nil, err
	}
	d := &onDisk{n, make(chan error, 1)}
	go func() { d.done <- n.Run(context.Background()) }()
	return d, nil
}

// stop ends it, whatever its disk says.
func (d *onDisk) stop() {
	d.Close()
	<-d.done
}

// write sets row:N and last to the next N, in one unit each.
func (d *onDisk) write(t *testing.T, units int) {
	t.Helper()
	for range units {
		i := strconv.Itoa(d.last(t) + 1)
		apply(t, d.Node,
			atomically(unit("SET", "row:"+i, i+strings.Repeat("x", 100)), unit("SET", "last", i)))
	}
}

// last checks that what write wrote is there up to some unit, and returns that.
func (d *onDisk) last(t *testing.T) int {
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
	rowsBefore = 20 // durable in every directory that the tests begin with
	newOffset  = 123456
)

var nowhere = "127.0.0.1:1" // an upstream that never answers

// diskCases are what a node does that must leave the old state or the new one.
var diskCases = []struct {
	name     string
	upstream string
	least    int                           // steps it takes
	before   func(t *testing.T, n *onDisk) // with nothing failing
	do       func(n *onDisk) error
	// is says whether the state is the new one; any but the old and the new fails the test.
	is func(t *testing.T, n *onDisk) bool
}{
	{
		name: "promotion", upstream: nowhere, least: 6,
		do: func(n *onDisk) error { return n.ReplicaOf(context.Background(), "") },
		is: func(t *testing.T, n *onDisk) bool {
			role, _ := n.Role()
			if n.last(t) != rowsBefore {
				t.Errorf("%d rows", n.last(t))
			}
			return role == replication.Master
		},
	},
	{
		name: "hand-over", least: 12,
		do: func(n *onDisk) error {
			if role, _ := n.Role(); role == replication.Replica {
				return nil
			}
			return n.HandOver(context.Background(), nowhere)
		},
		is: gaveRoleAway,
	},
	{
		name: "take-back", least: 8,
		before: func(t *testing.T, n *onDisk) {
			if err := n.HandOver(t.Context(), nowhere); err != nil {
				t.Fatal(err)
			}
		},
		do: func(n *onDisk) error {
			if role, _ := n.Role(); role == replication.Master {
				return nil
			}
			return n.AbortFailover(context.Background())
		},
		is: func(t *testing.T, n *onDisk) bool { return !gaveRoleAway(t, n) },
	},
	{
		name: "snapshot", least: 15,
		before: func(t *testing.T, n *onDisk) { n.write(t, 5) }, // which nothing has made durable
		do: func(n *onDisk) error {
			_, err := n.Snapshot(context.Background())
			return err
		},
		is: func(t *testing.T, n *onDisk) bool {
			last, at := n.last(t), n.Status().Snapshot.Offset
			if last < rowsBefore || at > n.Offset() || at == 0 {
				t.Errorf("%d rows, snapshot of %d, log up to %d", last, at, n.Offset())
			}
			return last == rowsBefore+5
		},
	},
	{
		name: "full resync", upstream: nowhere, least: 25,
		do: takeOther,
		is: func(t *testing.T, n *onDisk) bool {
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
		do: func(n *onDisk) error {
			_, err := n.ask("CONFIG", "SET", "repl-timeout", "77", "masterauth", "a secret")
			if err != nil {
				return err
			}
			_, err = n.ask("CONFIG", "REWRITE")
			return err
		},
		is: func(t *testing.T, n *onDisk) bool {
			got, err := n.ask("CONFIG", "GET", "masterauth", "repl-timeout")
			secret := strings.Contains(got, "a secret")
			if err != nil || n.last(t) != rowsBefore ||
				secret != strings.Contains(got, "repl-timeout:77") {
				t.Errorf("%d rows, %q, %v", n.last(t), got, err)
			}
			return secret
		},
	},
}

// gaveRoleAway says whether it gave its role away to nowhere. Only who did that goes
// on asking the other to take it.
func gaveRoleAway(t *testing.T, n *onDisk) bool {
	role, _ := n.Role()
	info, err := n.ask("INFO", "replication")
	if asks := strings.Contains(info, "master_failover_state:failover-in-progress"); err != nil ||
		n.last(t) != rowsBefore ||
		asks != (role == replication.Replica) {
		t.Errorf("%d rows, a %v: %s, %v", n.last(t), role, info, err)
	}
	return role == replication.Replica
}

const otherID = identity.ID("0123456789012345678901234567890123456789")

// ask is one command of a client.
func (d *onDisk) ask(args ...any) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: d.Addr(), MaxRetries: -1})
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	return fmt.Sprint(v), err
}

// restarted is the next node on a disk. Nothing unfinished is left there for ever.
func restarted(t *testing.T, c replication.Config, volume *memfs.FS) *onDisk {
	t.Helper()
	c.FS = volume
	n, err := startOn(c)
	if err != nil {
		t.Fatalf("the next start: %v", err)
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

// powerCut is what a machine finds on a disk when the power is back.
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

// diskBefore is a directory of a node that stopped, with rowsBefore rows: some in the
// snapshot, some in the log.
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

// Whatever a node does on its disk, the power may fail at any step of it, or the
// process be killed: the next start finds the old state or the new one, whole, and
// when it was done the new one.
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
						t.Errorf("left %d: what was done is gone", i)
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

// A step that fails once leaves the old state or the new one, and nothing unfinished.
// The same can then be done again; or the node has stopped, because it does not know
// what is on its disk, and the next start does. A full disk does not stop it where
// nothing was changed yet.
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
						case <-time.After(patience):
							t.Errorf("it goes on, and cannot do it: %v", again)
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
						t.Errorf("done again: %v", again)
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

// takeOther is a full resync to one key.
func takeOther(n *onDisk) error {
	keys := keyspace.New(keyspace.Options{})
	if err := keys.Stage(unit("SET", "other", "data")); err != nil {
		return err
	}
	keys.Publish()
	return n.TakeResync(context.Background(), keys, otherID, newOffset)
}

// A start has much to mend, and may itself be interrupted, or meet a fault, at any
// step: the next one goes on with it. What runs before it left goes.
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
		killed.Put(at(name), []byte("half of some"))
	}

	pending := diskBefore(t, dir, nowhere)
	complete := pending.Copy()
	n = restarted(t, diskConfig(dir, complete), complete)
	if err := takeOther(n); err != nil {
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

	asking := diskBefore(t, dir, "")
	n = restarted(t, diskConfig(dir, asking), asking)
	if err := n.HandOver(t.Context(), nowhere); err != nil {
		t.Fatal(err)
	}
	n.stop()

	// A replica's log and snapshot are gone, and another node's snapshot is there.
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
		check func(t *testing.T, n *onDisk, cut bool)
	}{
		{"killed", killed, 30, func(t *testing.T, n *onDisk, cut bool) {
			if last := n.last(t); last < rowsBefore || !cut && last != rowsBefore+5 {
				t.Errorf("%d rows", last)
			}
		}},
		{"in a full resync", pending, 40, func(t *testing.T, n *onDisk, _ bool) {
			v, _ := n.Keyspace().Get("other")
			if string(v) != "data" || n.Offset() != newOffset ||
				n.Status().ID != string(otherID) {
				t.Errorf("other is %q at %d", v, n.Offset())
			}
		}},
		// A start that failed once forgot that the other was asked: each followed the other then.
		{"in a failover", asking, 15, func(t *testing.T, n *onDisk, _ bool) {
			if !gaveRoleAway(t, n) {
				t.Error("it is a master")
			}
		}},
		{"a backup from elsewhere", backup, 20, func(t *testing.T, n *onDisk, _ bool) {
			st := n.Status()
			if !has(n.Node, "other") || st.Offset != newOffset || st.ID == was ||
				st.PreviousID != string(otherID) || st.Complete ||
				st.Role != replication.Replica {
				t.Errorf("it was %s and is %+v", was, st)
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
					t.Errorf("it took %d steps", step-1)
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

// Snapshots and the log hold production data, and the settings a password; a file
// of the node is nobody else's to read.
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
			if err != nil || path == follower.Dir { // which the test made
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

// A bad sector behind the snapshot ended every start with an error. It is damage of
// the log, and is mended as such: the rows before it are there, under a new id.
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
		t.Errorf("a place that was read at last: %d rows under %s", n.last(t), n.Status().ID)
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
