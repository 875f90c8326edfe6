package replication_test

import (
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication/identity"
)

// Completeness belongs to an offset. A log that lost its end may hold only a part of the data, so
// no replica gets it until the owner marks the data as complete again.
func TestCompletenessBelongsToAnOffset(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	fill(t, n, "a", 10)
	half := copyDir(t, c.Dir)
	fill(t, n, "b", 10)
	n.SetComplete(true)
	n.SetComplete(true)
	whole := copyDir(t, c.Dir)
	n.SetComplete(false) // the owner rebuilds the data
	rebuilt := copyDir(t, c.Dir)
	stop()
	id, err := os.ReadFile(filepath.Join(whole, identity.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, identity.FileName), id, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{half: false, whole: true, rebuilt: false} {
		c.Dir = dir
		n, stop := start(t, c)
		if got := n.Status().Complete; got != want {
			t.Errorf("at offset %s complete is %v, want %v", n.Offset(), got, want)
		}
		stop()
	}
}
