package replication_test

import (
	"context"
	"fmt"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/identity"
)

const otherRows = 3

// buildOther builds a replacement that has other rows, or continues it. A part of it is in its
// snapshot.
func buildOther(ctx context.Context, n *memNode) error {
	r, err := n.OpenReplacement(ctx)
	if err != nil {
		return err
	}
	_, term := r.Role()
	for i := range otherRows {
		if _, err := r.Apply(ctx, term, unit("SET", fmt.Sprint("other:", i), "data")); err != nil {
			return err
		}
		if i == 1 {
			if _, err := r.Snapshot(ctx); err != nil {
				return err
			}
		}
	}
	r.SetComplete(true)
	return nil
}

func replaceByOther(ctx context.Context, n *memNode) error {
	if err := buildOther(ctx, n); err != nil {
		return err
	}
	return n.InstallReplacement(ctx)
}

// wasReplaced reports whether a node has the other data. If it has, nothing is left of the
// replacement, and the old id is not valid any more.
func wasReplaced(t *testing.T, n *memNode) bool {
	st := n.Status()
	if _, ok := n.Keyspace().Get("other:0"); !ok {
		if n.last(t) != rowsBefore || !st.Complete {
			t.Errorf("%d rows: %+v", n.last(t), st)
		}
		return false
	}
	for i := range otherRows {
		if v, _ := n.Keyspace().Get(fmt.Sprint("other:", i)); string(v) != "data" {
			t.Errorf("row %d is %q", i, v)
		}
	}
	if n.Keyspace().Len() != otherRows || !st.Complete || st.Snapshot.Offset != n.Offset() ||
		n.HasReplacement() {
		t.Errorf("%d keys, another replacement: %v: %+v",
			n.Keyspace().Len(), n.HasReplacement(), st)
	}
	return true
}

// installing returns the directory of a node that was killed while it installed a replacement,
// after the installation was on disk.
func installing(t *testing.T, dir string) *memfs.FS {
	t.Helper()
	base := diskBefore(t, dir, "")
	n := restarted(t, diskConfig(dir, base), base)
	if err := buildOther(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	n.stop()
	isOnDisk := false // the file had its new contents already, but its folder was not synced
	for step := 1; ; step++ {
		volume := base.Copy()
		n := restarted(t, diskConfig(dir, volume), volume)
		if _, err := n.OpenReplacement(t.Context()); err != nil {
			t.Fatal(err)
		}
		volume.FailAt(step, nil)
		err := n.InstallReplacement(t.Context())
		left := volume.Copy()
		n.stop()
		if id, loaded := identity.Load(left, dir); loaded == nil && id.Pending {
			if isOnDisk {
				return left
			}
			isOnDisk = true
		}
		if err == nil {
			t.Fatal("the installation was never pending")
		}
	}
}

// wasDiscarded reports whether a node has no replacement. A replacement that is left can be
// continued: its first two rows are in its snapshot. If none is left, a new one is empty.
func wasDiscarded(t *testing.T, n *memNode) bool {
	left := n.HasReplacement()
	r, err := n.OpenReplacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Keyspace().Len(); left && got < 2 || !left && got > 0 {
		t.Errorf("a replacement is left: %v, and has %d rows", left, got)
	}
	if n.last(t) != rowsBefore {
		t.Errorf("%d rows", n.last(t))
	}
	return !left
}
