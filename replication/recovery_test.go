package replication_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

func TestCleanRestart(t *testing.T) {
	for name, snapshot := range map[string]bool{
		"log only": false, "snapshot and log": true, "snapshot at the stop": true,
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			n, stop := start(t, c)
			fill(t, n, "a", 300)
			if snapshot {
				if _, err := n.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if name != "snapshot at the stop" {
				fill(t, n, "b", 300)
			}
			want, err := contents(t.Context(), client(t, n.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			before := n.Status()
			stop()
			if got := len(snapshotsIn(t, c.Dir)) == 1; got != snapshot {
				t.Errorf("there is a snapshot: %v", got)
			}
			n, _ = start(t, c)
			got, err := contents(t.Context(), client(t, n.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if got[k] != v {
					t.Fatalf("%s was %q and is %q", k, v, got[k])
				}
			}
			if after := n.Status(); len(got) != len(want) || after.Offset != before.Offset ||
				after.ID != before.ID ||
				after.Complete {
				t.Errorf("%d keys became %d; before %+v, after %+v", len(want), len(got), before,
					after)
			}
		})
	}
}

// Snapshot and log must overlap. The error names a gap between them and the remedy.
func TestGapBetweenSnapshotAndLog(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	fill(t, n, "a", 100)
	st, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, n, "b", 100)
	stop()
	name := snapshotsIn(t, c.Dir)[0]
	if !strings.HasSuffix(name, "snapshot-"+st.Offset.String()+".rdb") {
		t.Errorf("the snapshot has the name %s", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The snapshot has a name with a wrong offset.
	if err := os.Rename(name, filepath.Join(c.Dir, "snapshot-99999999.rdb")); err != nil {
		t.Fatal(err)
	}
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), "99999999") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(c.Dir, "snapshot-99999999.rdb")); err != nil {
		t.Fatal(err)
	}
	// The snapshot is damaged.
	bad := append([]byte(nil), data...)
	bad[len(bad)/2] ^= 0x55
	if err := os.WriteFile(name, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), name) ||
		!strings.Contains(err.Error(), "restore") {
		t.Errorf("got %v", err)
	}
	// The directory holds only a snapshot, like a backup. The node continues from it under a new
	// id.
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.Dir, "log")); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	if after := n.Status(); after.ID == "" || after.Offset != st.Offset ||
		after.PreviousTo != st.Offset ||
		after.PreviousID == "" {
		t.Errorf("got %+v", after)
	}
	apply(t, n, unit("SET", "k", "v"))
}

// After a stop that may have lost bytes the node begins a new id before it replies to any replica.
func TestNewIDAfterPossibleLoss(t *testing.T) {
	for _, policy := range []replog.Fsync{replog.EverySecond, replog.Always} {
		c := config(t)
		c.Log.Fsync = policy
		n, stop := start(t, c)
		apply(t, n, unit("SET", "k", "v"))
		before := n.Status()
		crashed := copyDir(t, c.Dir) // no clean-stop mark
		stop()
		otherBoot(t, crashed)
		c.Dir = crashed
		n, _ = start(t, c)
		after := n.Status()
		if policy == replog.Always {
			if after.ID != before.ID {
				t.Errorf("with fsync %s the id changed", policy)
			}
		} else if after.ID == before.ID || after.PreviousID != before.ID ||
			after.PreviousTo != before.Offset {
			t.Errorf("with fsync %s: before %+v, after %+v", policy, before, after)
		}
	}
}

// The fsync policy under which the lost bytes were written decides about a new id, not the policy
// of the next start.
func TestNewIDAfterChangeOfPolicy(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "k", "v"))
	crashed := copyDir(t, c.Dir) // the state on disk at a power failure
	apply(t, n, unit("SET", "k", "lost"))
	before := n.Status()
	stop()
	otherBoot(t, crashed)
	c.Dir, c.Log.Fsync = crashed, replog.Always
	n, stop = complete(t, c)
	if after := n.Status(); after.ID == before.ID || after.PreviousID != before.ID ||
		after.PreviousTo != after.Offset {
		t.Errorf("before %+v, after %+v", before, after)
	}
	id := n.Status().ID
	crashed = copyDir(t, c.Dir)
	stop()
	otherBoot(t, crashed)
	c.Dir, c.Log.Fsync = crashed, replog.EverySecond
	n, _ = complete(t, c)
	if n.Status().ID != id {
		t.Error("bytes written with fsync always count as lost")
	}
}

// A directory that was copied after a clean stop and restored later gets a new id, although it has
// the mark of a clean stop. Otherwise a replica with more data would continue with other bytes.
func TestCopiedDirectoryGetsANewID(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	fill(t, n, "a", 20)
	stop()
	backup := copyDir(t, c.Dir)
	n, stop = complete(t, c)
	b, _ := follow(t, n.Addr())
	online(t, b)
	apply(t, n, unit("SET", "x", "lost"))
	equal(t, n.Addr(), b.Addr())
	c.Listen = n.Addr()
	stop()
	c.Dir = backup
	n, _ = complete(t, c)
	apply(t, n, unit("SET", "y", strings.Repeat("longer than what was lost", 10)))
	equal(t, n.Addr(), b.Addr())
	if st := n.Status(); st.FullSyncs != 1 || st.ID != b.Status().ID {
		t.Errorf("the replica with other bytes got a partial resync: %+v", st)
	}
}

// copyDir copies a node's directory, as a backup or a crash leaves it.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "d"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "d")
}

// A crash during a full resync leaves the file of the new data without its final name, and the old
// data with their log. The next start completes the resync.
func TestInterruptedResyncIsFinished(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 50)
	ac := config(t)
	ac.ReplicaOf = a.Addr()
	b, stop := start(t, ac)
	online(t, b)
	at, want := b.Status().Snapshot.Offset, b.Keyspace().Len()
	stop()

	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	rc := config(t)
	rc.ReplicaOf = old.Addr()
	b, stop = start(t, rc)
	online(t, b)
	fill(t, old, "older", 300) // makes the old log longer than the new data's offset
	eventually(t, "the replica has all data", func() bool { return b.Offset() == old.Offset() })
	if b.Offset() <= at {
		t.Fatalf("the old log ends at %d, the new log starts at %d", b.Offset(), at)
	}
	stop()

	interruptResync(t, ac.Dir, rc.Dir, at)
	b, stop = start(t, rc)
	if b.Keyspace().Len() != want || b.Offset() < at {
		t.Errorf("%d keys at %d, want %d at %d", b.Keyspace().Len(), b.Offset(), want, at)
	}
	equal(t, a.Addr(), b.Addr())
	apply(t, a, unit("SET", "after", "it"))
	equal(t, a.Addr(), b.Addr())
	if st := a.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
		t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
	}
	stop()
	b, _ = start(t, rc) // the completed resync stays
	equal(t, a.Addr(), b.Addr())
	if files := snapshotsIn(t, rc.Dir); len(files) != 1 {
		t.Errorf("the snapshots are %v", files)
	}
}

// otherBoot changes a directory's identity as if the machine had been rebooted.
func otherBoot(t *testing.T, dir string) {
	t.Helper()
	id, err := identity.Load(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	// The saved directory does not count as a copy. Without Log.File, the identity accepts every
	// log of the same generation.
	id.Boot, id.Log.File = "another boot", ""
	if err := id.Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
}

// interruptResync changes the directory to as if a full resync to the data, id and upstream of the
// directory from had been interrupted: the snapshot file is complete, the identity names the new
// data, and nothing else is done.
func interruptResync(t *testing.T, from, to string, at replog.Offset) {
	t.Helper()
	id, err := identity.Load(disk.SystemFS{}, from)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(snapshotsIn(t, from)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "resync.new"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	id.Clean, id.CleanEnd, id.Pending, id.PendingAt = false, 0, true, at
	if err := id.Save(disk.SystemFS{}, to); err != nil {
		t.Fatal(err)
	}
}
