package identity_test

import (
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// Snapshots contain all data, so no other user may read the directory.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	lock, err := identity.LockDir(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	file := filepath.Join(dir, "state")
	err = disk.WriteFile(disk.SystemFS{}, file, func(disk.File) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file, filepath.Join(dir, identity.LockName)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode is %s, want it private", path, info.Mode())
		}
	}
}
