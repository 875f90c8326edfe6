package replog_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// workout appends, syncs, retains and trims until an operation fails. It returns the offsets that
// were acknowledged as appended and as durable.
func workout(fs *memfs.FS, policy replog.Fsync) (appended, durable replog.Offset, err error) {
	c := small()
	c.FS, c.Fsync, c.Keep = fs, policy, 1500
	for range 2 {
		l, err := replog.Open("log", c)
		if err != nil {
			return appended, durable, err
		}
		for i := range 60 {
			end, err := l.Append(replog.Unit, content(l.End(), 1+i*13%90))
			if err != nil {
				_ = l.Close()
				return appended, max(durable, l.Synced()), err
			}
			appended = end
			if i%20 == 19 {
				err = l.Sync()
			}
			if i%25 == 24 && err == nil {
				err = l.Retain(max(end-1000, 0))
			}
			durable = max(durable, l.Synced())
			if err != nil {
				_ = l.Close()
				return appended, durable, err
			}
		}
		if err := l.Close(); err != nil {
			return appended, durable, err
		}
		durable = appended
	}
	return appended, durable, nil
}

// reopened checks a log after a crash. It must hold the right bytes from retained, or earlier, up
// to at least want, and accept new records.
func reopened(t *testing.T, fs *memfs.FS, retained, want replog.Offset) *replog.Log {
	t.Helper()
	c := small()
	c.FS = fs
	l, err := replog.Open("log", c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() { _ = l.Close() }()
	if l.End() < want || l.Start() > retained {
		t.Fatalf("holds %v to %v, want %v to %v", l.Start(), l.End(), retained, want)
	}
	readTo(t, l, l.Start(), l.End(), 0)
	end := fill(t, l, 20)
	if err := l.Replay(l.Start(), func(r replog.Record) error {
		if !bytes.Equal(r.Payload, content(r.Start, len(r.Payload))) {
			t.Errorf("wrong bytes at %v", r.Start)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if l.End() != end {
		t.Fatalf("ends at %v, want %v", l.End(), end)
	}
	return l
}

// TestFailingOperation fails the n-th operation on the file system and all later ones, for every n.
// The next process finds everything that Append acknowledged. After a power failure it finds
// everything that was acknowledged as durable.
func TestFailingOperation(t *testing.T) {
	for _, policy := range []replog.Fsync{replog.Never, replog.Always} {
		t.Run(policy.String(), func(t *testing.T) {
			for n := 1; ; n++ {
				fs := memfs.New()
				fs.FailAt(n, nil)
				appended, durable, err := workout(fs, policy)
				if policy == replog.Always && durable < appended {
					t.Fatalf("%d: durable %v, appended %v", n, durable, appended)
				}
				if l := reopened(t, fs.Copy(), max(appended-1000, 0), appended); l.Recovery().Lost {
					t.Fatalf("%d: a process that failed lost records: %+v", n, l.Recovery())
				}
				for i := range 6 {
					reopened(t, fs.PowerCut(rand.New(rand.NewPCG(uint64(n), uint64(i)))),
						max(appended-1000, 0), durable)
				}
				if err == nil {
					t.Logf("%d operations", n-1)
					return
				}
			}
		})
	}
}

// TestPowerCut cuts the power at the end of an undisturbed run, many times.
func TestPowerCut(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.FS = fs
	l, err := replog.Open("log", c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 40 {
		fill(t, l, 7)
		for i := range 10 {
			// Read Synced before the power cut, because it may grow in the meantime.
			durable := l.Synced()
			reopened(t, fs.PowerCut(rand.New(rand.NewPCG(uint64(l.End()), uint64(i)))), 0, durable)
		}
	}
}

// With Always the process may end between write and sync. The next process finds the record. No
// reader may see it before it is on disk, because a power cut would remove it again.
func TestOpenSyncsWhatItShows(t *testing.T) {
	for _, policy := range []replog.Fsync{replog.Always, replog.EverySecond} {
		fs := memfs.New()
		c := small()
		c.FS, c.Fsync, c.Reserve = fs, replog.Always, -1
		l := open(t, "log", c)
		fs.FailAt(2, nil) // the write goes through, the sync does not
		if _, err := l.Append(replog.Unit, content(0, 20)); !errors.Is(err, faultfs.ErrInjected) {
			t.Fatal(err)
		}
		next := fs.Copy()
		c.FS, c.Fsync = next, policy
		again := open(t, "log", c)
		if again.End() != 20 || again.Synced() != 20 {
			t.Errorf("with %v the next process shows %v, and %v is on disk", policy, again.End(),
				again.Synced())
		}
		for seed := range uint64(8) {
			c.FS = next.PowerCut(rand.New(rand.NewPCG(1, seed)))
			if after := open(t, "log", c); after.End() != 20 {
				t.Errorf("with %v a power cut takes it back to %v", policy, after.End())
			}
		}
	}
}

// TestFailingRead: a failed read during recovery is an error, never a reason to truncate.
func TestFailingRead(t *testing.T) {
	base := memfs.New()
	c := small()
	c.FS = base
	l, err := replog.Open("log", c)
	if err != nil {
		t.Fatal(err)
	}
	end := fill(t, l, 40)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		fs := base.Copy()
		fs.FailAt(n, nil)
		c.FS = fs
		l, err := replog.Open("log", c)
		if err == nil {
			_ = l.Close()
			return
		}
		if errors.As(err, new(*replog.CorruptError)) {
			t.Fatalf("operation %d: %v", n, err)
		}
		c.FS = fs.Copy()
		if l, err = replog.Open("log", c); err != nil || l.End() != end {
			t.Fatalf("after operation %d failed: %v", n, err)
		}
		_ = l.Close()
	}
}
