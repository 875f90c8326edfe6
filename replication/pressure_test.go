package replication

import "testing"

const (
	mb = 1 << 20
	gb = 1 << 30
)

// When a snapshot is due, for nodes of all sizes.
func TestSnapshotIsDue(t *testing.T) {
	every := int64(256 * mb)
	for _, tc := range []struct {
		name string
		p    pressure
		due  bool
	}{
		{"little log", pressure{logged: 255 * mb, last: 100 * mb, keep: 10 * gb, free: -1}, false},
		{"much log to replay", pressure{logged: 257 * mb, last: 100 * mb, keep: 10 * gb, free: -1}, true},
		{"less log than the snapshot", pressure{logged: 4 * gb, last: 10 * gb, keep: 10 * gb, free: -1}, false},
		{"log.keep is reached", pressure{logged: 20 * mb, last: 2 * mb, keep: 20 * mb, free: -1}, true},
		{"below log.keep", pressure{logged: 20*mb - 1, last: 2 * mb, keep: 20 * mb, free: -1}, false},
		{"log.keep is reached, but the last snapshot was large", pressure{logged: 49 * mb, last: 100 * mb, keep: 20 * mb, free: -1}, false},
		{"log.keep is passed by half the last snapshot", pressure{logged: 50 * mb, last: 100 * mb, keep: 20 * mb, free: -1}, true},
		{"a tiny log.keep", pressure{logged: mb - 1, last: 1000, keep: 1, free: -1}, false},
		{"all of the log is kept", pressure{logged: 100 * mb, last: 2 * mb, keep: -1, free: -1}, false},
		{"room for the next is ample", pressure{logged: 30 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 75 * mb}, false},
		{"room for the next is scarce", pressure{logged: 30 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 70 * mb}, true},
		{"log can be dropped instead", pressure{logged: 30 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 70 * mb, droppable: 30 * mb}, false},
		{"too little log to gain", pressure{logged: 10 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 70 * mb}, false},
		{"no room for the next", pressure{logged: 30 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 40 * mb}, false},
		{"nearly room, and much log", pressure{logged: 300 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 40 * mb}, true},
		{"no room, and much log", pressure{logged: 300 * mb, last: 50 * mb, next: 50 * mb, known: true, keep: gb, free: 20 * mb}, false},
		{"a guess is no reason not to try", pressure{logged: 300 * mb, next: 50 * mb, keep: gb, free: 20 * mb}, true},
		{"but an attempt that failed is", pressure{logged: 300 * mb, next: 50 * mb, lacked: 20 * mb, keep: gb, free: 20 * mb}, false},
		{"until there is more room", pressure{logged: 300 * mb, next: 50 * mb, lacked: 20 * mb, keep: gb, free: 21 * mb}, true},
	} {
		tc.p.every = every
		if got := tc.p.due(); got != tc.due {
			t.Errorf("%s: due %v", tc.name, got)
		}
	}
}

// However small log.keep is, the bytes written for snapshots stay within about twice those of the
// log.
func TestSnapshotsForKeepDoNotStorm(t *testing.T) {
	for _, keep := range []int64{1, mb, 20 * mb, gb} {
		for _, data := range []int64{0, mb, 100 * mb, 50 * gb} {
			p := pressure{last: data, next: data, keep: keep, every: 256 * mb, free: -1}
			for p.logged = 0; !p.due(); p.logged += max(data/100, 1000) {
			}
			if data > 2*p.logged+1000 || p.logged > max(keep, data/2, mb, 1000)+max(data/100, 1000) {
				t.Errorf("keep %d, snapshot %d: the next one after %d bytes of log", keep, data, p.logged)
			}
		}
	}
}

func TestSpareRoom(t *testing.T) {
	p := pressure{next: 160 * mb, free: 500 * mb}
	for _, tc := range []struct {
		name            string
		free, droppable int64
		running         bool
		written         int64
		want            int64
	}{
		{name: "ample", free: 500 * mb, want: 172 * mb},
		{name: "not known", free: -1, want: 0},
		{name: "just enough", free: 140 * mb, want: 172 * mb},
		{name: "not to be had", free: 139 * mb, want: 0},
		{name: "to be had by dropping log", free: 100 * mb, droppable: 40 * mb, want: 172 * mb},
		{name: "half written", free: 80 * mb, running: true, written: 80 * mb, want: 92 * mb},
		{name: "larger than expected", free: 80 * mb, running: true, written: 200 * mb, want: 0},
	} {
		p.free, p.droppable = tc.free, tc.droppable
		if got := p.spare(tc.running, tc.written, 2*mb); got != tc.want {
			t.Errorf("%s: %d MB, want %d", tc.name, got/mb, tc.want/mb)
		}
	}
}

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
		if got, bounded := syncLogLimit(tc.set, tc.keep, tc.data); got != tc.want || bounded == tc.unbounded {
			t.Errorf("%+v: %d, bounded %v", tc, got, bounded)
		}
	}
}
