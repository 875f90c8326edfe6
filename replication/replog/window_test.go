package replog_test

import (
	"bytes"
	"context"
	"os"
	"sync"
	"testing"

	"rowfall/replication/replog"
)

const (
	// windowLimit is the limit of the window in these tests. Its base is 1 MiB; with the spare
	// chunks it has at most windowBase bytes.
	windowLimit = 16 << 20
	windowBase  = 3 << 19
)

// windowStream is the test stream up to offset 40 MiB.
var windowStream = sync.OnceValue(func() []byte { return content(0, 40<<20) })

// windowLog returns an empty log of one segment, whose window has the limit windowLimit.
func windowLog(t *testing.T) (l *replog.Log, dir string) {
	t.Helper()
	dir = t.TempDir()
	return open(t, dir, replog.Config{
		Memory: windowLimit, SegmentSize: 1 << 30, Keep: -1, Fsync: replog.Never,
	}), dir
}

// appendTo appends records of 10,000 bytes up to an offset.
func appendTo(t *testing.T, l *replog.Log, to replog.Offset) {
	t.Helper()
	for at := l.End(); at < to; at = l.End() {
		end := min(at+10_000, to)
		if _, err := l.Append(replog.Unit, windowStream()[at:end]); err != nil {
			t.Fatal(err)
		}
	}
}

// openReader returns a reader that is closed at the end of the test.
func openReader(t *testing.T, l *replog.Log, from replog.Offset) *replog.Reader {
	t.Helper()
	r, err := l.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// follow reads up to an offset and compares the bytes with the test stream.
func follow(t *testing.T, r *replog.Reader, to replog.Offset) {
	t.Helper()
	for at := r.Offset(); at < to; at = r.Offset() {
		b, err := r.Next(context.Background(), int(to-at))
		if err != nil {
			t.Fatalf("at %v: %v", at, err)
		}
		if !bytes.Equal(b, windowStream()[at:r.Offset()]) {
			t.Fatalf("wrong bytes at %v", at)
		}
	}
}

// atEnd makes the reader report to the log that it has read everything.
func atEnd(t *testing.T, r *replog.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if b, err := r.Next(ctx, 0); err == nil {
		t.Fatalf("%d bytes at the end of the log", len(b))
	}
}

// removeSegments makes every later read from disk fail.
func removeSegments(t *testing.T, dir string) {
	t.Helper()
	for _, name := range segments(t, dir) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func checkWindow(t *testing.T, l *replog.Log, least, most int64) {
	t.Helper()
	if n := l.WindowSize(); n < least || n > most {
		t.Errorf("at %v the window has %d bytes, want %d to %d", l.End(), n, least, most)
	}
}

// TestWindowWithoutReaders: without readers the window holds its base only, and a reader of the
// newest bytes gets them from memory.
func TestWindowWithoutReaders(t *testing.T) {
	l, dir := windowLog(t)
	for to := replog.Offset(1 << 20); to <= 40<<20; to += 1 << 20 {
		appendTo(t, l, to)
		checkWindow(t, l, 3<<18, windowBase)
	}
	removeSegments(t, dir)
	follow(t, openReader(t, l, l.End()-3<<18), l.End())
}

// TestWindowGrowsForReader: the window holds what a lagging reader has not read, and shrinks with
// each chunk that the reader has passed.
func TestWindowGrowsForReader(t *testing.T) {
	l, dir := windowLog(t)
	slow, fast := openReader(t, l, 0), openReader(t, l, 0)
	removeSegments(t, dir)
	for to := replog.Offset(1 << 20); to <= 15<<20; to += 1 << 20 {
		appendTo(t, l, to)
		follow(t, fast, to)
		checkWindow(t, l, int64(to), int64(to)+windowBase)
	}
	for at := replog.Offset(1 << 20); at <= l.End(); at += 1 << 20 {
		follow(t, slow, at)
		left := int64(l.End() - at)
		checkWindow(t, l, left, left+windowBase)
	}
	atEnd(t, slow)
	checkWindow(t, l, 3<<18, windowBase)
	// At the end of the log, the readers are served from memory, and the window stays small.
	for to := l.End() + 100_000; to <= 40<<20; to += 100_000 {
		appendTo(t, l, to)
		follow(t, slow, to)
		follow(t, fast, to)
		checkWindow(t, l, 3<<18, windowBase+1<<18)
	}
}

// TestWindowClosedReader: the window releases what only a closed reader needed.
func TestWindowClosedReader(t *testing.T) {
	l, _ := windowLog(t)
	r := openReader(t, l, 0)
	appendTo(t, l, 10<<20)
	checkWindow(t, l, 10<<20, 11<<20)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	checkWindow(t, l, 3<<18, windowBase)
}

// TestWindowLimit: a reader that is farther behind than the limit reads from disk and keeps nothing
// in memory. When it comes nearer, the window grows for it again.
func TestWindowLimit(t *testing.T) {
	l, dir := windowLog(t)
	r := openReader(t, l, 0)
	for to := replog.Offset(1 << 20); to <= 16<<20; to += 1 << 20 {
		appendTo(t, l, to)
		checkWindow(t, l, int64(to), windowLimit)
	}
	appendTo(t, l, 20<<20)
	checkWindow(t, l, 3<<18, windowBase)
	follow(t, r, 10<<20)
	appendTo(t, l, 24<<20) // the reader is 14 MiB behind: the window keeps what follows 20 MiB
	checkWindow(t, l, 4<<20, 4<<20+windowBase)
	follow(t, r, 20<<20)
	removeSegments(t, dir)
	follow(t, r, 24<<20)
	atEnd(t, r)
	checkWindow(t, l, 3<<18, windowBase)
}

// TestWindowHeldChunk: bytes that a reader received stay unchanged until its next call, even if the
// window has evicted them, has freed other chunks, or the log was reset.
func TestWindowHeldChunk(t *testing.T) {
	l, _ := windowLog(t)
	r, next := openReader(t, l, 0), openReader(t, l, 0)
	appendTo(t, l, 5<<20)
	b, err := r.Next(context.Background(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	follow(t, next, 300<<10)
	held, err := next.Next(context.Background(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	at := next.Offset() - replog.Offset(len(held))
	appendTo(t, l, 40<<20)
	checkWindow(t, l, 3<<18, windowBase)
	if err := l.Reset(0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, 2<<20)
	if !bytes.Equal(b, windowStream()[:1000]) || !bytes.Equal(held, windowStream()[at:at+1000]) {
		t.Error("the held bytes have changed")
	}
	_ = next.Close()
	if !bytes.Equal(b, windowStream()[:1000]) {
		t.Error("the bytes have changed after another reader was closed")
	}
}
