package replication_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// A start that fails by its configuration changes nothing: the mark of the clean stop before
// it was taken away, so that the next start after a reboot began a new replication id.
func TestFailedStartChangesNothing(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	put := func(name, text string) func(t *testing.T, c *replication.Config) {
		return func(t *testing.T, c *replication.Config) {
			if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name, says string
		spoil      func(t *testing.T, c *replication.Config)
	}{
		{"a settings file that is not understood", "nonsense", put("settings", "nonsense\n")},
		{"a setting out of range", "repl-timeout", put("settings", "repl-timeout \"0\"\n")},
		{"a busy port", "address already in use", func(_ *testing.T, c *replication.Config) {
			c.Listen = busy.Addr().String()
		}},
		{"no address", "missing port", func(_ *testing.T, c *replication.Config) {
			c.Listen = "nowhere"
		}},
		{"an unreadable mark of a failover", "failover", func(t *testing.T, c *replication.Config) {
			if err := os.Mkdir(filepath.Join(c.Dir, "failover"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config(t)
			n, stop := complete(t, c)
			apply(t, n, unit("SET", "k", "v"))
			before := n.Status()
			stop()
			spoiled := c
			tc.spoil(t, &spoiled)
			if n, err := replication.Open(spoiled); err == nil ||
				!strings.Contains(err.Error(), tc.says) {
				t.Fatalf("it starts: %v, %v", n, err)
			}
			id, err := identity.Load(disk.SystemFS{}, c.Dir)
			if err != nil || !id.Clean || id.CleanEnd != before.Offset {
				t.Errorf("the mark of the clean stop is gone: %+v, %v", id, err)
			}
			for _, name := range []string{"settings", "failover"} {
				if err := os.RemoveAll(filepath.Join(c.Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			otherBoot(t, c.Dir)
			n, _ = start(t, c)
			if after := n.Status(); after.ID != before.ID || after.Offset != before.Offset {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}

// An address that cannot be listened on leaves no directory behind.
func TestBadAddressMakesNoDirectory(t *testing.T) {
	c := config(t)
	c.Dir, c.Listen = filepath.Join(c.Dir, "new"), "nowhere"
	if _, err := replication.Open(c); err == nil {
		t.Fatal("it starts")
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}
