package node

import (
	"testing"
	"time"

	"rowfall/replication/syncthrottle"
)

const (
	mb = 1 << 20
	gb = 1 << 30
)

// The log that one full resync may keep follows the setting, else log.keep and the data.
func TestSyncLogLimit(t *testing.T) {
	for _, tc := range []struct {
		set, keep, data, want int64
		unbounded             bool
	}{
		{keep: 10 * gb, data: gb, want: 10 * gb},
		{keep: 20 * mb, data: 2 * mb, want: 64 * mb},
		{keep: 20 * mb, data: 5 * gb, want: 10 * gb},
		{set: mb, keep: 10 * gb, data: 5 * gb, want: mb},
		{set: mb, keep: -1, want: mb},
		{keep: -1, unbounded: true},
	} {
		if got, bounded := syncLogLimit(tc.set, tc.keep, tc.data); got != tc.want ||
			bounded == tc.unbounded {
			t.Errorf("%+v: %d, bounded %v", tc, got, bounded)
		}
	}
}

// By the defaults a replica may load for a time that depends on the snapshot's size, as long as it
// shows that it lives.
func TestLoadTimeByDefault(t *testing.T) {
	c := Config{}.withDefaults()
	for _, size := range []int64{0, 600 << 20, 100 << 30} {
		got := syncthrottle.LoadTime(size, c.FullSyncMinRate, c.FullSyncSlack)
		if want := 5*time.Minute + time.Duration(size>>20)*time.Second; got != want {
			t.Errorf("%d bytes may take %v, want %v", size, got, want)
		}
	}
}
