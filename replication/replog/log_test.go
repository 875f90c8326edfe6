package replog_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a configuration with segments and a window so small that a few records exceed them.
func small() replog.Config {
	return replog.Config{Memory: 1 << 10, SegmentSize: 400, Keep: -1, Fsync: replog.Never}
}

func open(t testing.TB, dir string, c replog.Config) *replog.Log {
	t.Helper()
	l, err := replog.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fill appends n records of 1 to 60 bytes of the test stream, and returns the new end.
func fill(t testing.TB, l *replog.Log, n int) replog.Offset {
	t.Helper()
	for i := range n {
		if _, err := l.Append(replog.Kind(1+i%5), content(l.End(), 1+i*7%60)); err != nil {
			t.Fatal(err)
		}
	}
	return l.End()
}

// content returns n bytes of the test stream. The value of a byte depends only on its offset.
func content(after replog.Offset, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		o := uint64(after) + uint64(i)
		b[i] = byte((o*2654435761)>>8) ^ byte(o)
	}
	return b
}

// readTo reads from one offset to another and compares the bytes with the test stream.
func readTo(t testing.TB, l *replog.Log, from, to replog.Offset, limit int) {
	t.Helper()
	r, err := l.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for r.Offset() < to {
		at := r.Offset()
		b, err := r.Next(context.Background(), limit)
		if err != nil {
			t.Fatalf("at %v: %v", at, err)
		}
		if len(b) == 0 || limit > 0 && len(b) > limit || r.Offset() != at+replog.Offset(len(b)) {
			t.Fatalf("Next(%d) returned %d bytes at %v, then the offset is %v", limit, len(b), at,
				r.Offset())
		}
		if !bytes.Equal(b, content(at, len(b))) {
			t.Fatalf("wrong bytes at %v", at)
		}
	}
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAppendRejects(t *testing.T) {
	l := open(t, t.TempDir(), small())
	for name, try := range map[string]func() error{
		"kind 0": func() error { _, err := l.Append(0, []byte("x")); return err },
		"kind 6": func() error { _, err := l.Append(6, []byte("x")); return err },
		"empty":  func() error { _, err := l.Append(replog.Unit, nil); return err },
	} {
		if try() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := l.Append(replog.Ping, []byte("x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(replog.Ping, []byte("x")); !errors.Is(err, replog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestRetention(t *testing.T) {
	c := small()
	c.Keep = 1200
	dir := t.TempDir()
	l := open(t, dir, c)
	end := fill(t, l, 100)
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if l.Start() != 0 {
		t.Fatal("something was removed before Retain said what a restart needs")
	}
	if err := l.Trim(end); err != nil || l.Start() != 0 {
		t.Fatalf("Trim passed Retain: start %v, %v", l.Start(), err)
	}
	pin := l.Pin(300)
	if err := l.Retain(500); err != nil {
		t.Fatal(err)
	}
	if s := l.Start(); s == 0 || s > 300 {
		t.Fatalf("start %v, want one in (0, 300]", s)
	}
	pin.Release()
	pin.Release()
	if err := l.Retain(500); err != nil {
		t.Fatal(err)
	}
	if s := l.Start(); s <= 300 || s > 500 {
		t.Fatalf("start %v, want one in (300, 500]", s)
	}
	if err := l.Retain(end); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, name := range segments(t, dir) {
		i, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += i.Size()
	}
	if size > c.Keep || size < c.Keep-800 {
		t.Fatalf("%d bytes kept, want up to %d", size, c.Keep)
	}
	readTo(t, l, l.Start(), end, 0)
	if err := l.Trim(end - 200); err != nil || l.Start() > end-200 {
		t.Fatalf("Trim went to %v of %v: %v", l.Start(), end, err)
	}
}

func TestReset(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	fill(t, l, 50)
	volume, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := volume.Next(context.Background(), 3); err != nil {
		t.Fatal(err)
	}
	waiting, err := l.NewReader(l.End())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := waiting.Next(context.Background(), 0); got <- err }()
	before := l.Generation()
	for _, at := range []replog.Offset{-1, replog.MaxBegin + 1} {
		if err := l.Reset(at); err == nil || l.Generation() != before {
			t.Errorf("the log begins at %v", at)
		}
	}
	if err := l.Reset(70); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, replog.ErrTrimmed) {
		t.Errorf("waiting reader: %v", err)
	}
	if _, err := volume.Next(context.Background(), 3); !errors.Is(err, replog.ErrTrimmed) {
		t.Errorf("reader of the old log: %v", err)
	}
	if l.Start() != 70 || l.End() != 70 || l.Generation() <= before {
		t.Fatalf("start %v, end %v, generation %d", l.Start(), l.End(), l.Generation())
	}
	end := fill(t, l, 50)
	readTo(t, l, 70, end, 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, small())
	if l.Start() != 70 || l.End() != end {
		t.Fatalf("reopened from %v to %v", l.Start(), l.End())
	}
	readTo(t, l, 70, end, 5)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = replog.Create(dir, 1000, small())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if l.Start() != 1000 || l.End() != 1000 || len(segments(t, dir)) != 1 {
		t.Fatalf("created from %v to %v with %q", l.Start(), l.End(), segments(t, dir))
	}
}

func TestFsyncAlways(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.Fsync, c.FS = replog.Always, fs
	l := open(t, "log", c)
	for range 60 {
		end := fill(t, l, 1)
		if l.Synced() != end {
			t.Fatalf("synced to %v, want %v", l.Synced(), end)
		}
	}
}

func TestFsyncEverySecond(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.Fsync, c.FS = replog.EverySecond, fs
	synctest.Test(t, func(t *testing.T) {
		l, err := replog.Open("log", c)
		if err != nil {
			t.Fatal(err)
		}
		end := fill(t, l, 1)
		if l.Synced() == end {
			t.Error("synced at once")
		}
		time.Sleep(time.Second + 1) // of synctest's clock
		synctest.Wait()
		if l.Synced() != end {
			t.Errorf("synced to %v after a second, want %v", l.Synced(), end)
		}
		// A sync that fails in the background ends the log.
		fill(t, l, 1)
		fs.FailAt(1, nil)
		time.Sleep(time.Second + 1) // of synctest's clock
		synctest.Wait()
		<-l.Failed()
		if _, err := l.Append(replog.Unit, []byte("x")); !errors.Is(err, faultfs.ErrInjected) ||
			!errors.Is(l.Err(), faultfs.ErrInjected) {
			t.Errorf("Append after a failed sync: %v", err)
		}
		fs.FailAt(0, nil)
		if err := l.Sync(); !errors.Is(err, faultfs.ErrInjected) {
			t.Errorf("a failed sync was tried again: %v", err)
		}
		if err := l.Close(); !errors.Is(err, faultfs.ErrInjected) {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestParse(t *testing.T) {
	for _, f := range []replog.Fsync{replog.Always, replog.EverySecond, replog.Never} {
		if got, err := replog.ParseFsync(f.String()); got != f || err != nil {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	if _, err := replog.ParseFsync("sometimes"); err == nil {
		t.Error("the policy sometimes was accepted")
	}
	if o, err := replog.ParseOffset("123"); o != 123 || err != nil || o.String() != "123" ||
		o.IsZero() {
		t.Errorf("%v, %v", o, err)
	}
	for _, s := range []string{"", "-1", "x", "9223372036854775808"} {
		if _, err := replog.ParseOffset(s); err == nil {
			t.Errorf("offset %q was accepted", s)
		}
	}
	names := []string{}
	for k := replog.Unit; k <= replog.Select+1; k++ {
		names = append(names, k.String())
	}
	if !slices.Equal(names, []string{"unit", "expiry", "ping", "getack", "select", "kind 6"}) {
		t.Error(names)
	}
}
