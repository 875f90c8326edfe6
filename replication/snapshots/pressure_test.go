package snapshots

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
		p    Pressure
		due  bool
	}{
		{"little log", Pressure{Logged: 255 * mb, Last: 100 * mb, Keep: 10 * gb, Free: -1}, false},
		{
			"much log to replay",
			Pressure{Logged: 257 * mb, Last: 100 * mb, Keep: 10 * gb, Free: -1},
			true,
		},
		{
			"less log than the snapshot",
			Pressure{Logged: 4 * gb, Last: 10 * gb, Keep: 10 * gb, Free: -1},
			false,
		},
		{
			"log.keep is reached",
			Pressure{Logged: 20 * mb, Last: 2 * mb, Keep: 20 * mb, Free: -1},
			true,
		},
		{
			"below log.keep",
			Pressure{Logged: 20*mb - 1, Last: 2 * mb, Keep: 20 * mb, Free: -1},
			false,
		},
		{
			"log.keep is reached, but the last snapshot was large",
			Pressure{Logged: 49 * mb, Last: 100 * mb, Keep: 20 * mb, Free: -1},
			false,
		},
		{
			"log.keep is passed by half the last snapshot",
			Pressure{Logged: 50 * mb, Last: 100 * mb, Keep: 20 * mb, Free: -1},
			true,
		},
		{"a tiny log.keep", Pressure{Logged: mb - 1, Last: 1000, Keep: 1, Free: -1}, false},
		{
			"all of the log is kept",
			Pressure{Logged: 100 * mb, Last: 2 * mb, Keep: -1, Free: -1},
			false,
		},
		{
			"room for the next is ample",
			Pressure{
				Logged: 30 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb, Free: 75 * mb,
			},
			false,
		},
		{
			"room for the next is scarce",
			Pressure{
				Logged: 30 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb, Free: 70 * mb,
			},
			true,
		},
		{
			"log can be dropped instead",
			Pressure{
				Logged: 30 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb, Free: 70 * mb,
				Trimmable: 30 * mb,
			},
			false,
		},
		{
			"too little log to gain",
			Pressure{
				Logged: 10 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb, Free: 70 * mb,
			},
			false,
		},
		{
			"no room for the next",
			Pressure{
				Logged: 30 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb, Free: 40 * mb,
			},
			false,
		},
		{
			"nearly room, and much log",
			Pressure{
				Logged: 300 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb,
				Free: 40 * mb,
			},
			true,
		},
		{
			"no room, and much log",
			Pressure{
				Logged: 300 * mb, Last: 50 * mb, Next: 50 * mb, Known: true, Keep: gb,
				Free: 20 * mb,
			},
			false,
		},
		{
			"a guess is no reason not to try",
			Pressure{Logged: 300 * mb, Next: 50 * mb, Keep: gb, Free: 20 * mb},
			true,
		},
		{
			"but an attempt that failed is",
			Pressure{Logged: 300 * mb, Next: 50 * mb, Lacked: 20 * mb, Keep: gb, Free: 20 * mb},
			false,
		},
		{
			"until there is more room",
			Pressure{Logged: 300 * mb, Next: 50 * mb, Lacked: 20 * mb, Keep: gb, Free: 21 * mb},
			true,
		},
	} {
		tc.p.Every = every
		if got := tc.p.Due(); got != tc.due {
			t.Errorf("%s: due %v", tc.name, got)
		}
	}
}

// However small log.keep is, the bytes written for snapshots stay within about twice those of the
// log.
func TestSnapshotsForKeepDoNotStorm(t *testing.T) {
	for _, keep := range []int64{1, mb, 20 * mb, gb} {
		for _, data := range []int64{0, mb, 100 * mb, 50 * gb} {
			p := Pressure{Last: data, Next: data, Keep: keep, Every: 256 * mb, Free: -1}
			for p.Logged = 0; !p.Due(); p.Logged += max(data/100, 1000) {
			}
			if data > 2*p.Logged+1000 ||
				p.Logged > max(keep, data/2, mb, 1000)+max(data/100, 1000) {
				t.Errorf("keep %d, snapshot %d: the next one after %d bytes of log", keep, data,
					p.Logged)
			}
		}
	}
}

func TestSpareRoom(t *testing.T) {
	p := Pressure{Next: 160 * mb}
	for _, tc := range []struct {
		name            string
		free, trimmable int64
		guess           bool
		running         bool
		want            int64
	}{
		{name: "ample", free: 500 * mb, want: 172 * mb},
		{name: "not known", free: -1, want: 0},
		{name: "just enough", free: 140 * mb, want: 172 * mb},
		{name: "not to be had", free: 139 * mb, want: 0},
		{name: "a guess is no reason to give up", free: 1 * mb, guess: true, want: 172 * mb},
		{name: "to be had by dropping log", free: 100 * mb, trimmable: 40 * mb, want: 172 * mb},
		{name: "half written", free: 80 * mb, running: true, want: 172 * mb},
	} {
		p.Free, p.Trimmable, p.Known = tc.free, tc.trimmable, !tc.guess
		if got := p.Spare(tc.running, 2*mb); got != tc.want {
			t.Errorf("%s: %d MB, want %d", tc.name, got/mb, tc.want/mb)
		}
	}
}
