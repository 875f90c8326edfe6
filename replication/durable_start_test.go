package replication_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/identity"
)

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
		{"in an installation", installing(t, dir), 50, func(t *testing.T, n *memNode, _ bool) {
			if !wasReplaced(t, n) {
				t.Error("the node has the old data")
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
