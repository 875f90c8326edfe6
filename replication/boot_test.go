package replication_test

import (
	"testing"

	"rowfall/replication/identity"
	"rowfall/replication/stream"
)

// otherBoot makes a directory look as if the machine had been started anew.
func otherBoot(t *testing.T, dir string) {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Boot = "another boot"
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
}

// pending makes a directory look as if a full resync at that offset had been
// interrupted before the log began anew.
func pending(t *testing.T, dir string, at stream.Offset) {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Clean, id.CleanEnd, id.Pending, id.PendingAt = false, 0, true, at
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
}
