package replog_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// A pin moves forward with its replica, and never back.
func TestPinAdvances(t *testing.T) {
	c := small()
	c.Keep, c.FS = 1, memfs.New()
	l := open(t, "log", c)
	end := fill(t, l, 100)
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	pin := l.Pin(300)
	for _, tc := range []struct{ to, want replog.Offset }{
		{300, 300}, {1500, 1500}, {200, 1500}, {end, end},
	} {
		pin.Advance(tc.to)
		if err := l.Retain(end); err != nil {
			t.Fatal(err)
		}
		if s := l.Start(); pin.Offset() != tc.want || s > tc.want || s < tc.want-400 {
			t.Errorf("advanced to %v: the pin is at %v, and the log begins at %v",
				tc.to, pin.Offset(), s)
		}
	}
	pin.Release()
}

// Keep can change while the log is open. Segments beyond the new limit are removed in the
// background, and new segments are small enough for it.
func TestSetKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mb = 1 << 20
		l, err := replog.Open("log",
			replog.Config{FS: memfs.New(), Memory: 1 << 10, Fsync: replog.Never})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		write := func(mbs int) {
			t.Helper()
			for range mbs {
				if _, err := l.Append(replog.Unit, content(l.End(), mb)); err != nil {
					t.Fatal(err)
				}
				if err := l.Retain(l.End()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		write(100)
		if got := l.Size(); got < 100*mb {
			t.Fatalf("%d bytes are left of 100 MiB", got)
		}
		l.SetKeep(8 * mb)
		synctest.Wait()
		if got := l.Size(); got > 64*mb {
			t.Errorf("%d bytes of log when 8 MiB are kept", got)
		}
		for range 20 {
			write(3)
			if got := l.Size(); got > 10*mb {
				t.Fatalf("%d bytes of log when 8 MiB are kept, and 2 MiB are a segment", got)
			}
		}
		l.SetKeep(-1)
		write(20)
		if got := l.Size(); got < 25*mb {
			t.Errorf("%d bytes of log when all are kept", got)
		}
	})
}

// If the volume's free room is unknown, only failed writes and allocations limit the log.
func TestSpareRoomNotKnown(t *testing.T) {
	c := small()
	c.FS = faultfs.Wrap(memfs.New(),
		faultfs.If(faultfs.Kinds(faultfs.OpFree), faultfs.Fail(errors.ErrUnsupported)))
	l := open(t, "log", c)
	l.SetSpare(1<<50, nil)
	fill(t, l, 50)
}

// The newest segment can be completed, so that the log up to a snapshot's offset can be removed
// although more records are appended.
func TestCompleteSegment(t *testing.T) {
	c := small()
	c.FS, c.SegmentSize, c.Reserve = memfs.New(), 1<<20, 100
	l := open(t, "log", c)
	if err := l.CompleteSegment(); err != nil {
		t.Fatal(err)
	}
	at := fill(t, l, 100)
	if err := l.Retain(at); err != nil {
		t.Fatal(err)
	}
	if err := l.CompleteSegment(); err != nil {
		t.Fatal(err)
	}
	end := fill(t, l, 1)
	got, ok, err := l.Trimmable()
	if got != at || !ok || err != nil {
		t.Fatalf("the oldest segment ends at %v, %v, %v; want %v", got, ok, err, at)
	}
	pin := l.Pin(0) // a pin is no reason: its owner may be given up
	if got, ok, err = l.Trimmable(); got != at || !ok || err != nil {
		t.Fatalf("with a pin: %v, %v, %v", got, ok, err)
	}
	pin.Release()
	if err := l.Trim(at); err != nil || l.Start() != at {
		t.Fatalf("the log begins at %v, want %v; %v", l.Start(), at, err)
	}
	if _, ok, err = l.Trimmable(); ok || err != nil {
		t.Errorf("what a restart needs can be removed: %v", err)
	}
	if err := l.Retain(end); err != nil {
		t.Fatal(err)
	}
	if _, ok, err = l.Trimmable(); ok || err != nil {
		t.Errorf("a segment that is smaller than a new one can be removed: %v", err)
	}
	readTo(t, l, at, end, 0)
}
