package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rowfall/internal/memfs"
	"rowfall/replication/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a configuration whose segments and window are so small that a few records pass them.
func small() stream.Config {
	return stream.Config{Memory: 1 << 10, SegmentSize: 400, Keep: -1, Fsync: stream.Never}
}

func open(t testing.TB, dir string, c stream.Config) *stream.Log {
	t.Helper()
	l, err := stream.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fill appends n records of 1 to 60 bytes, each with the bytes that follow in the stream, and returns its end.
func fill(t testing.TB, l *stream.Log, n int) stream.Offset {
	t.Helper()
	for i := range n {
		if _, err := l.Append(stream.Kind(1+i%5), content(l.End(), 1+i*7%60)); err != nil {
			t.Fatal(err)
		}
	}
	return l.End()
}

// content is n bytes of the stream that the tests write: a byte's value depends on its offset only.
func content(after stream.Offset, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		o := uint64(after) + uint64(i)
		b[i] = byte((o*2654435761)>>8) ^ byte(o)
	}
	return b
}

// readTo reads from an offset to another and compares.
func readTo(t testing.TB, l *stream.Log, from, to stream.Offset, limit int) {
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
		if len(b) == 0 || limit > 0 && len(b) > limit || r.Offset() != at+stream.Offset(len(b)) {
			t.Fatalf("Next(%d) gave %d bytes at %v, then stands at %v", limit, len(b), at, r.Offset())
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
				if l.End() != end || l.Recovery() != (stream.Recovery{}) {
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
	if _, err := l.NewReader(end + 1); !errors.Is(err, stream.ErrBeyond) {
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
		t.Fatal("Trim dropped nothing")
	}
	if _, err := l.NewReader(l.Start() - 1); !errors.Is(err, stream.ErrTrimmed) {
		t.Errorf("before the start: %v", err)
	}
	if _, err := old.Next(context.Background(), 0); !errors.Is(err, stream.ErrTrimmed) {
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
			if _, err := l.Append(stream.Unit, content(from, size)); err != nil {
				t.Fatal(err)
			}
			end := fill(t, l, 3)
			for _, at := range []stream.Offset{0, from - 1, from, from + 1, from + stream.Offset(size)/2, from + stream.Offset(size) - 1} {
				readTo(t, l, at, end, 0)
				readTo(t, l, at, end, 100_000)
			}
			n := 0
			if err := l.Replay(from, func(r stream.Record) error {
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

func TestAppendRefuses(t *testing.T) {
	l := open(t, t.TempDir(), small())
	for name, try := range map[string]func() error{
		"kind 0": func() error { _, err := l.Append(0, []byte("x")); return err },
		"kind 6": func() error { _, err := l.Append(6, []byte("x")); return err },
		"empty":  func() error { _, err := l.Append(stream.Unit, nil); return err },
	} {
		if try() == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := l.Append(stream.Ping, []byte("x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(stream.Ping, []byte("x")); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestReplay(t *testing.T) {
	l := open(t, t.TempDir(), small())
	end := fill(t, l, 50)
	var all []stream.Record
	if err := l.Replay(0, func(r stream.Record) error {
		if !bytes.Equal(r.Payload, content(r.Start, len(r.Payload))) {
			t.Fatalf("wrong bytes at %v", r.Start)
		}
		all = append(all, stream.Record{Kind: r.Kind, Start: r.Start, Payload: bytes.Clone(r.Payload)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if want := stream.Kind(1 + i%5); r.Kind != want {
			t.Fatalf("record %d is %v, want %v", i, r.Kind, want)
		}
		n := 0
		if err := l.Replay(r.Start, func(stream.Record) error { n++; return nil }); err != nil || n != len(all)-i {
			t.Fatalf("from record %d: %d records, %v", i, n, err)
		}
		if len(r.Payload) > 1 {
			if err := l.Replay(r.Start+1, func(stream.Record) error { return nil }); err == nil {
				t.Fatalf("began inside record %d", i)
			}
		}
	}
	if len(all) != 50 || all[49].End() != end {
		t.Fatalf("%d records", len(all))
	}
	stop := errors.New("stop")
	if err := l.Replay(0, func(stream.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of fn became %v", err)
	}
	if err := l.Replay(end, func(stream.Record) error { return stop }); err != nil {
		t.Errorf("from the end: %v", err)
	}
	if err := l.Replay(end+1, nil); !errors.Is(err, stream.ErrBeyond) {
		t.Errorf("beyond the end: %v", err)
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
		t.Fatal("something was dropped before Retain said what a restart needs")
	}
	if err := l.Trim(end); err != nil || l.Start() != 0 {
		t.Fatalf("Trim passed Retain: start %v, %v", l.Start(), err)
	}
	release := l.Pin(300)
	if err := l.Retain(500); err != nil {
		t.Fatal(err)
	}
	if s := l.Start(); s == 0 || s > 300 {
		t.Fatalf("start %v, want one in (0, 300]", s)
	}
	release()
	release()
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
	disk, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Next(context.Background(), 3); err != nil {
		t.Fatal(err)
	}
	waiting, err := l.NewReader(l.End())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := waiting.Next(context.Background(), 0); got <- err }()
	before := l.Generation()
	if err := l.Reset(70); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, stream.ErrTrimmed) {
		t.Errorf("waiting reader: %v", err)
	}
	if _, err := disk.Next(context.Background(), 3); !errors.Is(err, stream.ErrTrimmed) {
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
	l, err = stream.Create(dir, 1000, small())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if l.Start() != 1000 || l.End() != 1000 || len(segments(t, dir)) != 1 {
		t.Fatalf("created from %v to %v with %q", l.Start(), l.End(), segments(t, dir))
	}
}

// TestTailing lets readers of different paces and starts follow a writer that also trims. Run it with -race.
func TestTailing(t *testing.T) {
	c := small()
	c.SegmentSize, c.Memory = 4<<10, 8<<10
	l := open(t, t.TempDir(), c)
	const total = 300_000
	var wg, pinned sync.WaitGroup
	pinned.Add(6)
	for i := range 6 {
		wg.Go(func() {
			release := l.Pin(0)
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
				next := l.Pin(r.Offset())
				release()
				release = next
			}
			release()
		})
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	pinned.Wait()
	for l.End() < total {
		if _, err := l.Append(stream.Unit, content(l.End(), 1+rnd.IntN(300))); err != nil {
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
		t.Error("nothing was ever dropped")
	}
}

func TestCloseWakesReaders(t *testing.T) {
	l := open(t, t.TempDir(), stream.Config{})
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := r.Next(context.Background(), 0); got <- err }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, stream.ErrClosed) {
		t.Fatal(err)
	}
}

// TestWakeUps: many waiting readers are woken once for the records of a millisecond, and miss none. Few are woken for each.
func TestWakeUps(t *testing.T) {
	for _, c := range []struct{ readers, wakeUps int }{{2, 2 * 50}, {20, 20 * 11}} {
		synctest.Test(t, func(t *testing.T) {
			config := small()
			config.FS = memfs.New()
			l, err := stream.Open("log", config)
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
				if _, err := l.Append(stream.Unit, []byte("x")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Microsecond) // of synctest's clock
			}
			wg.Wait()
			if n := int(wakeUps.Load()); n < c.wakeUps-c.readers || n > c.wakeUps+c.readers {
				t.Errorf("%d readers were woken %d times, want about %d", c.readers, n, c.wakeUps)
			}
			// A last record is not waited for by Close.
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFsyncAlways(t *testing.T) {
	fs := memfs.New()
	c := small()
	c.Fsync, c.FS = stream.Always, fs
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
	c.Fsync, c.FS = stream.EverySecond, fs
	synctest.Test(t, func(t *testing.T) {
		l, err := stream.Open("log", c)
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
		if _, err := l.Append(stream.Unit, []byte("x")); !errors.Is(err, memfs.ErrInjected) || !errors.Is(l.Err(), memfs.ErrInjected) {
			t.Errorf("Append after a failed sync: %v", err)
		}
		fs.FailAt(0, nil)
		if err := l.Sync(); !errors.Is(err, memfs.ErrInjected) {
			t.Errorf("a failed sync was tried again: %v", err)
		}
		if err := l.Close(); !errors.Is(err, memfs.ErrInjected) {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestParse(t *testing.T) {
	for _, f := range []stream.Fsync{stream.Always, stream.EverySecond, stream.Never} {
		if got, err := stream.ParseFsync(f.String()); got != f || err != nil {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	if _, err := stream.ParseFsync("sometimes"); err == nil {
		t.Error("sometimes was taken")
	}
	if o, err := stream.ParseOffset("123"); o != 123 || err != nil || o.String() != "123" || o.IsZero() {
		t.Errorf("%v, %v", o, err)
	}
	for _, s := range []string{"", "-1", "x", "9223372036854775808"} {
		if _, err := stream.ParseOffset(s); err == nil {
			t.Errorf("offset %q was taken", s)
		}
	}
	names := []string{}
	for k := stream.Unit; k <= stream.Select+1; k++ {
		names = append(names, k.String())
	}
	if !slices.Equal(names, []string{"unit", "expiry", "ping", "getack", "select", "kind 6"}) {
		t.Error(names)
	}
}
