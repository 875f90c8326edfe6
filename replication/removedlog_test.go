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

// markKilled removes the mark of a clean stop, as if the node had been killed.
func markKilled(t *testing.T, dir string) {
	t.Helper()
	id, err := identity.Load(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Clean, id.CleanEnd = false, 0
	if err := id.Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
}

// replaceLog replaces the log of dir by that of another directory.
func replaceLog(t *testing.T, dir, from string) {
	t.Helper()
	removeLog(t, dir)
	log := os.DirFS(filepath.Join(from, "log"))
	if err := os.CopyFS(filepath.Join(dir, "log"), log); err != nil {
		t.Fatal(err)
	}
}

// removeAllBut removes all files of a directory except the named ones.
func removeAllBut(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	keep := strings.Join(names, " ")
	for _, e := range entries {
		if !strings.Contains(keep, e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func removed(t *testing.T, dir, _, _ string) { removeLog(t, dir) }

// lostLogs are ways in which a killed node loses its log.
var lostLogs = []struct {
	name     string
	snapshot string // "none", "at 0" or "late"
	lose     func(t *testing.T, dir, other, older string)
	rejected bool // a master does not start, and the error names the remedy
}{
	{"removed, no snapshot", "none", removed, false},
	{"removed, snapshot at 0", "at 0", removed, false},
	{"removed, later snapshot", "late", removed, false},
	{
		"all but the identity removed", "late",
		func(t *testing.T, dir, _, _ string) { removeAllBut(t, dir, "identity") }, false,
	},
	{"segments removed", "none", func(t *testing.T, dir, _, _ string) {
		for _, name := range segmentsOf(t, dir) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(dir, "log", replog.SyncedFile)); err != nil {
			t.Fatal(err)
		}
	}, false},
	{"the newest segment removed", "none", func(t *testing.T, dir, _, _ string) {
		names := segmentsOf(t, dir)
		if err := os.Remove(names[len(names)-1]); err != nil {
			t.Fatal(err)
		}
	}, false},
	{
		"log of another node, no snapshot", "none",
		func(t *testing.T, dir, other, _ string) { replaceLog(t, dir, other) }, false,
	},
	{
		"log of another node, later snapshot", "late",
		func(t *testing.T, dir, other, _ string) { replaceLog(t, dir, other) }, true,
	},
	{
		"older copy of the log, no snapshot", "none",
		func(t *testing.T, dir, _, older string) { replaceLog(t, dir, older) }, false,
	},
	{
		"older copy of the log, later snapshot", "late",
		func(t *testing.T, dir, _, older string) { replaceLog(t, dir, older) }, true,
	},
	{"the oldest segment removed", "none", func(t *testing.T, dir, _, _ string) {
		if err := os.Remove(segmentsOf(t, dir)[0]); err != nil {
			t.Fatal(err)
		}
	}, true},
}

func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments %q, %v", names, err)
	}
	return names
}

// lostLogConfig has small segments, of which none is durable before the stop.
func lostLogConfig(t *testing.T) replication.Config {
	c := config(t)
	c.Log.SegmentSize, c.Log.Fsync = 8<<10, replog.Never
	return c
}

func pad(with string) string { return strings.Repeat(with, 300) }

// otherLog returns the directory of a node that wrote other units of the same lengths.
func otherLog(t *testing.T) string {
	t.Helper()
	c := lostLogConfig(t)
	n, stop := complete(t, c)
	for range 90 {
		apply(t, n, unit("SET", "k", pad("z")))
	}
	stop()
	return c.Dir
}

// A master that was killed and lost its log, or has another log, begins a new replication id. Once,
// if no snapshot showed the gap, it continued under its id with other bytes, and its replicas got
// +CONTINUE.
func TestMasterWithoutItsLogBeginsANewID(t *testing.T) {
	other := otherLog(t)
	for _, tc := range lostLogs {
		t.Run(tc.name, func(t *testing.T) {
			c := lostLogConfig(t)
			n, stop := complete(t, c)
			if tc.snapshot == "at 0" {
				if got := requestSync(dialRaw(t, n.Addr()), "?", "-1"); got[0] != "+FULLRESYNC" {
					t.Fatalf("got %q", got)
				}
				eventually(t, "the snapshot is written",
					func() bool { return len(snapshotsIn(t, c.Dir)) == 1 })
			}
			for range 30 {
				apply(t, n, unit("SET", "k", pad("x")))
			}
			if tc.snapshot == "late" {
				if _, err := n.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			older := copyDir(t, c.Dir)
			for range 30 {
				apply(t, n, unit("SET", "k", pad("x")))
			}
			before := n.Status()
			stop()
			markKilled(t, c.Dir)
			tc.lose(t, c.Dir, other, older)
			if tc.name == "the newest segment removed" {
				zeroMark(t, c.Dir)
			}
			if tc.rejected {
				for range 2 { // the first Open changes nothing
					if n, err := replication.Open(c); err == nil ||
						!strings.Contains(err.Error(), filepath.Join(c.Dir, "log")) {
						t.Fatalf("Open returns %v, %v", n, err)
					}
				}
				return
			}
			n, stop = start(t, c)
			after := n.Status()
			if after.ID == before.ID {
				t.Fatalf("the replication id stays: before %+v, after %+v", before, after)
			}
			// An empty node must not replace the data of its replicas.
			next := (before.Offset + 1).String()
			if n.Keyspace().Len() == 0 {
				got := requestSync(dialRaw(t, n.Addr()), before.ID, next)[0]
				if got != "-LOADING" && got != "-NOMASTERLINK" {
					t.Errorf("a replica with all data gets %s from an empty node", got)
				}
			}
			n.SetComplete(true)
			for n.Offset() <= before.Offset {
				apply(t, n, unit("SET", "k", pad("y")))
			}
			if got := requestSync(dialRaw(t, n.Addr()), before.ID, next); got[0] != "+FULLRESYNC" {
				t.Errorf("a replica with all data gets %q", got)
			}
			now := n.Status()
			stop()
			markKilled(t, c.Dir)
			n, _ = start(t, c)
			if again := n.Status(); again.ID != now.ID || again.Offset != now.Offset ||
				!again.Complete {
				t.Errorf("the next start changed the state: %+v, then %+v", now, again)
			}
		})
	}
}

// zeroMark makes the log's mark record that nothing is durable, as before the first sync.
func zeroMark(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "log", replog.SyncedFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 32), 0); err != nil {
		t.Fatal(err)
	}
}

// A replica that lost its log, or has another log, gets the missing data from its upstream, by a
// full resync if its data are not the upstream's. Then it has the upstream's data.
func TestReplicaWithoutItsLogFollows(t *testing.T) {
	other := otherLog(t)
	for _, tc := range lostLogs {
		t.Run(tc.name, func(t *testing.T) {
			a, _ := complete(t, config(t))
			if tc.snapshot != "at 0" {
				apply(t, a, unit("SET", "first", "1"))
			}
			c := lostLogConfig(t)
			c.ReplicaOf = a.Addr()
			n, stop := start(t, c)
			online(t, n)
			for range 30 {
				apply(t, a, unit("SET", "k", pad("x")))
			}
			equal(t, a.Addr(), n.Addr())
			if tc.snapshot == "late" {
				if _, err := n.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			older := copyDir(t, c.Dir)
			for range 30 {
				apply(t, a, unit("SET", "k", pad("w")))
			}
			equal(t, a.Addr(), n.Addr())
			stop()
			markKilled(t, c.Dir)
			tc.lose(t, c.Dir, other, older)
			n, stop = start(t, c)
			online(t, n)
			apply(t, a, unit("SET", "end", "1"))
			equal(t, a.Addr(), n.Addr())
			if n.Offset() != a.Offset() || n.Status().ID != a.Status().ID {
				t.Errorf("upstream %+v, replica %+v", a.Status(), n.Status())
			}
			stop()
			full := a.Status().FullSyncs
			n, _ = start(t, c)
			online(t, n)
			equal(t, a.Addr(), n.Addr())
			if now := a.Status().FullSyncs; now != full {
				t.Errorf("the next start caused %d more full resyncs", now-full)
			}
		})
	}
}

// A removed log is noticed also in a directory of an older version, which does not name its log.
func TestRemovedLogOfAnOlderVersion(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "k", "v"))
	before := n.Status()
	stop()
	markKilled(t, c.Dir)
	id, err := identity.Load(disk.SystemFS{}, c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Log = identity.LogName{}
	if err := id.Save(disk.SystemFS{}, c.Dir); err != nil {
		t.Fatal(err)
	}
	n, stop = start(t, c)
	if n.Status().ID != before.ID {
		t.Error("the id changed although the log is there")
	}
	stop()
	markKilled(t, c.Dir)
	removeLog(t, c.Dir)
	n, _ = start(t, c)
	if n.Status().ID == before.ID {
		t.Error("the id stays although the log was removed")
	}
}
