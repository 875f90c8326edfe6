package replication_test

import (
	"io/fs"
	"path/filepath"
	"testing"
)

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
