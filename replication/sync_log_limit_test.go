package replication

import "testing"

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
