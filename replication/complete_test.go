package replication_test

import (
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication/identity"
)

// A log that ends before the data were complete, because the end was lost, holds
// half of them: nobody gets it until the owner says so again.
func TestCompletenessGoesWithTheBytes(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	fill(t, n, "a", 10)
	half := copyDir(t, c.Dir)
	fill(t, n, "b", 10)
	n.SetComplete(true)
	n.SetComplete(true)
	whole := copyDir(t, c.Dir)
	n.SetComplete(false) // it is emptied and built anew
	anew := copyDir(t, c.Dir)
	stop()
	id, err := os.ReadFile(filepath.Join(whole, identity.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, identity.FileName), id, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{half: false, whole: true, anew: false} {
		c.Dir = dir
		n, stop := start(t, c)
		if got := n.Status().Complete; got != want {
			t.Errorf("at %s it is complete: %v, want %v", n.Offset(), got, want)
		}
		stop()
	}
}
