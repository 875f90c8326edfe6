package replog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

func TestReaderAtEveryByte(t *testing.T) {
	for name, reopen := range map[string]bool{"written": false, "reopened": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, small())
			end := fill(t, l, 120)
			if n := len(segments(t, dir)); n < 10 {
				t.Fatalf("only %d segments", n)
			}
			if reopen {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = open(t, dir, small())
				if l.End() != end || l.Recovery() != (replog.Recovery{}) {
					t.Fatalf("reopened at %v with %+v, want %v", l.End(), l.Recovery(), end)
				}
			}
			for from := l.Start(); from <= end; from++ {
				readTo(t, l, from, min(from+900, end), 0)
				readTo(t, l, from, min(from+450, end), 7)
			}
			readTo(t, l, 0, end, 1)
		})
	}
}

func TestReaderLimits(t *testing.T) {
	l := open(t, t.TempDir(), small())
	end := fill(t, l, 40)
	if _, err := l.NewReader(end + 1); !errors.Is(err, replog.ErrBeyond) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := l.Retain(end); err != nil {
		t.Fatal(err)
	}
	old, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.Trim(end); err != nil {
		t.Fatal(err)
	}
	if l.Start() == 0 {
		t.Fatal("Trim removed nothing")
	}
	if _, err := l.NewReader(l.Start() - 1); !errors.Is(err, replog.ErrTrimmed) {
		t.Errorf("before the start: %v", err)
	}
	if _, err := old.Next(context.Background(), 0); !errors.Is(err, replog.ErrTrimmed) {
		t.Errorf("reader that was left behind: %v", err)
	}
	readTo(t, l, l.Start(), end, 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := l.NewReader(end)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end with a dead context: %v", err)
	}
}

func TestBigRecordsFromDisk(t *testing.T) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20, 1<<20 + 1, 5 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, small())
			fill(t, l, 3)
			from := l.End()
			if _, err := l.Append(replog.Unit, content(from, size)); err != nil {
				t.Fatal(err)
			}
			end := fill(t, l, 3)
			last := from + replog.Offset(size) - 1
			middle := from + replog.Offset(size)/2
			for _, at := range []replog.Offset{0, from - 1, from, from + 1, middle, last} {
				readTo(t, l, at, end, 0)
				readTo(t, l, at, end, 100_000)
			}
			n := 0
			if err := l.Replay(from, func(r replog.Record) error {
				n++
				if !bytes.Equal(r.Payload, content(r.Start, len(r.Payload))) {
					t.Fatalf("wrong record at %v", r.Start)
				}
				return nil
			}); err != nil || n != 4 {
				t.Fatalf("replayed %d records: %v", n, err)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	l := open(t, t.TempDir(), small())
	end := fill(t, l, 50)
	var all []replog.Record
	if err := l.Replay(0, func(r replog.Record) error {
		if !bytes.Equal(r.Payload, content(r.Start, len(r.Payload))) {
			t.Fatalf("wrong bytes at %v", r.Start)
		}
		r.Payload = bytes.Clone(r.Payload)
		all = append(all, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if want := replog.Kind(1 + i%5); r.Kind != want {
			t.Fatalf("record %d is %v, want %v", i, r.Kind, want)
		}
		n := 0
		if err := l.Replay(r.Start, func(replog.Record) error { n++; return nil }); err != nil ||
			n != len(all)-i {
			t.Fatalf("from record %d: %d records, %v", i, n, err)
		}
		if len(r.Payload) > 1 {
			if err := l.Replay(r.Start+1, func(replog.Record) error { return nil }); err == nil {
				t.Fatalf("began inside record %d", i)
			}
		}
	}
	if len(all) != 50 || all[49].End() != end {
		t.Fatalf("%d records", len(all))
	}
	stop := errors.New("stop")
	if err := l.Replay(0, func(replog.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of fn became %v", err)
	}
	if err := l.Replay(end, func(replog.Record) error { return stop }); err != nil {
		t.Errorf("from the end: %v", err)
	}
	if err := l.Replay(end+1, nil); !errors.Is(err, replog.ErrBeyond) {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestTailing runs readers of different speeds and start offsets beside a writer that also trims.
// Run it with -race.
func TestTailing(t *testing.T) {
	c := small()
	c.SegmentSize = 4 << 10
	// The smaller window has a fixed size; the other one grows and shrinks.
	for _, c.Memory = range []int64{8 << 10, 64 << 10} {
		t.Run(fmt.Sprint(c.Memory), func(t *testing.T) { tail(t, c) })
	}
}

func tail(t *testing.T, c replog.Config) {
	t.Helper()
	l := open(t, t.TempDir(), c)
	const total = 300_000
	var wg, pinned sync.WaitGroup
	pinned.Add(6)
	for i := range 6 {
		wg.Go(func() {
			pin := l.Pin(0)
			pinned.Done()
			r, err := l.NewReader(0)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = r.Close() }()
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for r.Offset() < total {
				at := r.Offset()
				b, err := r.Next(context.Background(), 1+rnd.IntN(200<<i))
				if err != nil {
					t.Errorf("reader %d at %v: %v", i, at, err)
					break
				}
				if !bytes.Equal(b, content(at, len(b))) {
					t.Errorf("reader %d: wrong bytes at %v", i, at)
					break
				}
				pin.Advance(r.Offset())
			}
			pin.Release()
		})
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	pinned.Wait()
	for l.End() < total {
		if _, err := l.Append(replog.Unit, content(l.End(), 1+rnd.IntN(300))); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(50) == 0 {
			if err := l.Retain(l.End()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.Trim(l.End()); err != nil {
		t.Fatal(err)
	}
	if l.Start() == 0 {
		t.Error("nothing was ever removed")
	}
}

func TestCloseWakesReaders(t *testing.T) {
	l := open(t, t.TempDir(), replog.Config{})
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := r.Next(context.Background(), 0); got <- err }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, replog.ErrClosed) {
		t.Fatal(err)
	}
}

// TestWakeUps: many waiting readers are woken once for all records of a millisecond and miss none.
// A few readers are woken for each record.
func TestWakeUps(t *testing.T) {
	for _, c := range []struct{ readers, wakeUps int }{{2, 2 * 50}, {20, 20 * 11}} {
		synctest.Test(t, func(t *testing.T) {
			config := small()
			config.FS = memfs.New()
			l, err := replog.Open("log", config)
			if err != nil {
				t.Fatal(err)
			}
			const records = 50
			var wg sync.WaitGroup
			var wakeUps atomic.Int64
			for range c.readers {
				wg.Go(func() {
					r, err := l.NewReader(0)
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = r.Close() }()
					for r.Offset() < records {
						if _, err := r.Next(t.Context(), 0); err != nil {
							t.Error(err)
							return
						}
						wakeUps.Add(1)
					}
				})
			}
			for range records {
				synctest.Wait()
				if _, err := l.Append(replog.Unit, []byte("x")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Microsecond) // of synctest's clock
			}
			wg.Wait()
			if n := int(wakeUps.Load()); n < c.wakeUps-c.readers || n > c.wakeUps+c.readers {
				t.Errorf("%d readers were woken %d times, want about %d", c.readers, n, c.wakeUps)
			}
			// Close does not wait for a last record.
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
