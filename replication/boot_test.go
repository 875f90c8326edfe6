package replication_test

import (
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

// otherBoot makes a directory look as if the machine had been started anew.
func otherBoot(t *testing.T, dir string) {
	t.Helper()
	id, err := identity.Load(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Boot, id.Log.File = "another boot", "" // whoever saves it here makes it no copy any more, and the log is one
	if err := id.Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
}

// resynced makes the directory to look as if a full resync to the data, the id and
// the upstream of the directory from had been interrupted: its file is complete, the
// identity says so, and nothing else has been done.
func resynced(t *testing.T, from, to string, at replog.Offset) {
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
