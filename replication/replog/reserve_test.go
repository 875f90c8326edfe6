package replog_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// fillUp appends units until the disk has no room for another one, and checks the error.
func fillUp(t *testing.T, l *replog.Log, why error) {
	t.Helper()
	var err error
	for err == nil {
		_, err = l.Append(replog.Unit, content(l.End(), 40))
	}
	if wantFull(t, err); !errors.Is(err, why) {
		t.Fatal(err)
	}
}

// wantFull checks that an error reports a full disk and names the file and the room needed.
func wantFull(t *testing.T, err error) {
	t.Helper()
	full := (*replog.FullError)(nil)
	if !errors.As(err, &full) || full.File == "" || full.Need <= 0 ||
		!strings.Contains(err.Error(), full.File) {
		t.Fatalf("got %v, want a FullError", err)
	}
}

// TestDiskFull fills the disk at every point of a segment. Units are rejected and pings use the
// reserve. Once there is room, the log continues by itself. At no point does the next process miss
// a record that was appended.
func TestDiskFull(t *testing.T) {
	const reserve = 3000
	for free := int64(0); free < 1000; free += 9 {
		fs := memfs.New()
		c := small()
		c.FS, c.Reserve = fs, reserve
		l, err := replog.Open("log", c)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, 5)
		fs.Leave(free)
		fillUp(t, l, syscall.ENOSPC)
		if l.Err() != nil {
			t.Fatalf("the log has failed by %v", l.Err())
		}
		pings := 0
		for range reserve / (recordHeader + 14) {
			if _, err = l.Append(replog.Kind(2+pings%3), content(l.End(), 14)); err != nil {
				break
			}
			pings++
		}
		// The room that the failed unit had allocated is left for pings.
		if pings < 90 {
			t.Fatalf("free %d: %d pings, then %v", free, pings, err)
		}
		if _, err := l.Append(replog.Unit, content(l.End(), 1)); !errors.As(err,
			new(*replog.FullError)) {
			t.Fatalf("free %d: a unit of one byte: %v", free, err)
		}
		for err = nil; err == nil; {
			_, err = l.Append(replog.Ping, content(l.End(), 14))
		}
		wantFull(t, err)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		end := l.End()
		readTo(t, l, 0, end, 0)
		if again := reopened(t, fs.Copy(), 0, end); again.Recovery().Lost {
			t.Fatalf("free %d: %+v", free, again.Recovery())
		}
		fs.Leave(-1)
		if end = fill(t, l, 30); l.Err() != nil {
			t.Fatal(l.Err())
		}
		readTo(t, l, 0, end, 0)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if again := reopened(t, fs.Copy(), 0, end); again.Recovery() != (replog.Recovery{}) {
			t.Fatalf("free %d: %+v", free, again.Recovery())
		}
	}
}

// TestDiskFullUnreserved fills a disk that cannot allocate a reserve: the write itself fails
// halfway.
func TestDiskFullUnreserved(t *testing.T) {
	for free := int64(0); free < 300; free += 2 {
		fs := memfs.New()
		fs.NoReserve()
		c := small()
		c.FS = fs
		l, err := replog.Open("log", c)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, 5)
		fs.Leave(free)
		fillUp(t, l, syscall.ENOSPC)
		end := l.End()
		for i := range 3 { // now power may fail, too
			durable := l.Synced() // which may grow meanwhile
			reopened(t, fs.PowerCut(rand.New(rand.NewPCG(uint64(free), uint64(i)))), 0, durable)
		}
		if again := reopened(t, fs.Copy(), 0, end); again.Recovery() != (replog.Recovery{}) {
			t.Fatalf("free %d: %+v", free, again.Recovery())
		}
		fs.Leave(-1)
		if end = fill(t, l, 30); l.Err() != nil {
			t.Fatal(l.Err())
		}
		readTo(t, l, 0, end, 0)
		_ = l.Close()
	}
}

// TestDiskFullOfNames allows no new file: the log stays in its current segment.
func TestDiskFullOfNames(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.FS = fs
	l := open(t, "log", c)
	fill(t, l, 5)
	fs.NoNames(true)
	fillUp(t, l, syscall.EDQUOT)
	for range 100 {
		if _, err := l.Append(replog.Ping, content(l.End(), 14)); err != nil {
			t.Fatal(err)
		}
	}
	end := l.End()
	wantFull(t, l.Reset(9000))
	if l.End() != end {
		t.Errorf("ends at %v after a rejected Reset, want %v", l.End(), end)
	}
	fs.NoNames(false)
	end = fill(t, l, 5)
	readTo(t, l, 0, end, 0)
	if err := l.Reset(9000); err != nil || l.End() != 9000 {
		t.Errorf("Reset with room: %v", err)
	}
}

// TestDiskFullAtOpen: a log opens on a full disk, and its reserve is still allocated.
func TestDiskFullAtOpen(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.FS = fs
	l := open(t, "log", c)
	end := fill(t, l, 5)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	fs.Leave(0)
	l = open(t, "log", c)
	if l.End() != end {
		t.Fatalf("ends at %v, want %v", l.End(), end)
	}
	fillUp(t, l, syscall.ENOSPC)
	if _, err := l.Append(replog.Ping, content(l.End(), 14)); err != nil {
		t.Error(err)
	}
	// A sync that finds the disk full is final, like every failed sync.
	fs.FailAt(1, nil)
	if err := l.Sync(); err == nil || l.Err() == nil {
		t.Errorf("sync: %v", err)
	}
}

func TestKeepAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := small()
		c.FS, c.KeepAge = memfs.New(), time.Hour
		l, err := replog.Open("log", c)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		wait := func(d time.Duration) {
			time.Sleep(d) // of synctest's clock
			synctest.Wait()
		}
		first := fill(t, l, 50)
		wait(2 * time.Hour)
		if l.Start() != 0 {
			t.Fatalf("starts at %v: removed what a restart needs", l.Start())
		}
		second := fill(t, l, 50)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		pin := l.Pin(300)
		if err := l.Retain(second); err != nil {
			t.Fatal(err)
		}
		if s := l.Start(); s == 0 || s > 300 {
			t.Fatalf("starts at %v, want one in (0, 300]", s)
		}
		pin.Release()
		wait(5 * time.Minute)
		if s := l.Start(); s < first-400 || s > first {
			t.Fatalf("starts at %v, want one before %v: what is older than an hour goes by itself",
				s, first)
		}
		// The age of a segment survives a restart. A failed clock makes no segment older.
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wait(50 * time.Minute)
		if l, err = replog.Open("log", c); err != nil {
			t.Fatal(err)
		}
		if err := l.Retain(second); err != nil {
			t.Fatal(err)
		}
		if s := l.Start(); s > first {
			t.Fatalf("starts at %v after 55 minutes, want one up to %v", s, first)
		}
		wait(10 * time.Minute)
		if s := l.Start(); s < second-400 {
			t.Fatalf("starts at %v after 65 minutes, want one near %v", s, second)
		}
		readTo(t, l, l.Start(), second, 0)
	})
}
