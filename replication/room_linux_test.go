package replication_test

import (
	"fmt"
	"syscall"
	"testing"

	"rowfall/internal/servers/servertest"
	"rowfall/replication/replog"
)

// A node runs on a real volume of 120 MB, if one can be mounted, with little data and log.keep far
// below 256 MiB.
func TestSmallVolumeForReal(t *testing.T) {
	for _, keep := range []int64{20_000_000, 0} {
		c := config(t)
		if err := syscall.Mount("tmpfs", c.Dir, "tmpfs", 0, "size=120m"); err != nil {
			servertest.SkipOrFail(t, fmt.Errorf("mount a tmpfs: %w", err))
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(c.Dir, 0); err != nil {
				t.Errorf("unmount %s: %v", c.Dir, err)
			}
		})
		c.Log = replog.Config{Keep: keep}
		n, stop := complete(t, c)
		overwrite(t, n, 500)
		if st := n.Status(); st.Snapshot.Err != "" || st.Snapshot.Written > 250 {
			t.Errorf("keep %d: %+v", keep, st.Snapshot)
		}
		stop()
	}
}
