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

// A start that fails because of its configuration changes nothing. Once, it removed the mark of the
// last clean stop, so that the next start after a reboot began a new replication id.
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
		name, want string
		change     func(t *testing.T, c *replication.Config)
	}{
		{"an invalid settings file", "nonsense", put("settings", "nonsense\n")},
		{"a setting out of range", "repl-timeout", put("settings", "repl-timeout \"0\"\n")},
		{"a busy port", "address already in use", func(_ *testing.T, c *replication.Config) {
			c.Listen = busy.Addr().String()
		}},
		{"no address", "missing port", func(_ *testing.T, c *replication.Config) {
			c.Listen = "nowhere"
		}},
		{"an unreadable failover file", "failover", func(t *testing.T, c *replication.Config) {
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
			changed := c
			tc.change(t, &changed)
			if n, err := replication.Open(changed); err == nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Open returns %v, %v", n, err)
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

// Open creates no directory if it cannot listen on its address.
func TestBadAddressMakesNoDirectory(t *testing.T) {
	c := config(t)
	c.Dir, c.Listen = filepath.Join(c.Dir, "new"), "nowhere"
	if _, err := replication.Open(c); err == nil {
		t.Fatal("Open succeeds")
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("the directory exists: %v", err)
	}
}
