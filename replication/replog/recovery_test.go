package replog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// The layout of doc.go, repeated here so that a change of it fails a test.
const (
	// segmentHeader is the header of every segment file; doc.go has the layout.
	segmentHeader = 40
	// recordHeader is the fixed part of a record.
	recordHeader = 16
)

// build writes a log of ten records of ten bytes in two segments of five. clean selects a clean
// stop.
func build(t testing.TB, clean bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := replog.Config{
		SegmentSize: segmentHeader + 5*(recordHeader+10), Keep: -1,
		Fsync: replog.Never,
	}
	l, err := replog.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := l.Append(replog.Unit, content(l.End(), 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !clean { // as if no sync had been before the end
		if err := os.Remove(filepath.Join(dir, "synced")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t testing.TB, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCorruption damages a log. The table gives how many of its ten records must survive, or that
// Open must reject it.
func TestCorruption(t *testing.T) {
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			return b
		}
	}
	rubbish := bytes.Repeat([]byte("rubbish"), 9)
	add := func(more ...byte) func([]byte) []byte {
		return func(b []byte) []byte { return append(b, more...) }
	}
	const record = recordHeader + 10
	const rejected = -1
	const secondRecord = segmentHeader + record + 20 // a byte of the segment's second record
	for name, c := range map[string]struct {
		segment        int
		change         func([]byte) []byte
		unclean, clean int
		lost           bool // if it is not rejected after an unclean stop
	}{
		"nothing":                         {1, cut(0), 10, 10, false},
		"last record cut short":           {1, cut(1), 9, rejected, false},
		"last payload gone":               {1, cut(10), 9, rejected, false},
		"last record's header cut short":  {1, cut(12), 9, rejected, false},
		"last record gone":                {1, cut(record), 9, rejected, false},
		"more than a record gone":         {1, cut(record + 3), 8, rejected, false},
		"half a record added":             {1, add(1, 2, 3), 10, 10, false},
		"zeros added":                     {1, add(make([]byte, 100)...), 10, 10, true},
		"rubbish added":                   {1, add(rubbish...), 10, 10, true},
		"last checksum wrong":             {1, flip(-record), 9, rejected, true},
		"last length wrong":               {1, flip(-record + 4), 9, rejected, false},
		"last kind wrong":                 {1, flip(-record + 8), 9, rejected, true},
		"last start wrong":                {1, flip(-record + 9), 9, rejected, true},
		"last payload wrong":              {1, flip(-1), 9, rejected, true},
		"record in the middle wrong":      {1, flip(secondRecord), 6, rejected, true},
		"last segment's header wrong":     {1, flip(20), 5, rejected, true},
		"last segment empty":              {1, cut(segmentHeader + 5*record), 5, rejected, false},
		"last segment is half a header":   {1, cut(20 + 5*record), 5, rejected, false},
		"last segment only a header":      {1, cut(5 * record), 5, rejected, false},
		"first segment's end cut":         {0, cut(1), 4, rejected, true},
		"first segment's last one gone":   {0, cut(record), 4, rejected, true},
		"first segment's second wrong":    {0, flip(secondRecord), 1, rejected, true},
		"first segment's header wrong":    {0, flip(30), rejected, rejected, false},
		"first segment of another format": {0, flip(7), rejected, rejected, false},
	} {
		for _, clean := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/clean=%v", name, clean), func(t *testing.T) {
				dir := build(t, clean)
				edit(t, segments(t, dir)[c.segment], c.change)
				want := c.unclean
				if clean {
					want = c.clean
				}
				before := files(t, dir)
				l, err := replog.Open(dir, small())
				if want == rejected {
					ce := (*replog.CorruptError)(nil)
					if !errors.As(err, &ce) || ce.File == "" || ce.Err == nil {
						t.Fatalf("opened with %v, want a CorruptError", err)
					}
					if after := files(t, dir); !slices.Equal(before, after) {
						t.Fatalf("the directory was changed: %q to %q", before, after)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				if r := l.Recovery(); l.End() != replog.Offset(want*10) || r.Lost != c.lost {
					t.Fatalf("ends at %v with %+v, want %d and lost %v", l.End(), r, want*10,
						c.lost)
				}
				end := fill(t, l, 20)
				readTo(t, l, 0, end, 0)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = open(t, dir, small())
				if l.End() != end || l.Recovery() != (replog.Recovery{}) {
					t.Fatalf("then ends at %v with %+v, want %v", l.End(), l.Recovery(), end)
				}
			})
		}
	}
}

// files returns names and checksums of a directory's files.
func files(t testing.TB, dir string) (all []string) {
	t.Helper()
	for _, name := range listed(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %d %x", name, len(b), crc32.ChecksumIEEE(b)))
	}
	return all
}

func listed(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCorruptionInOldSegment damages a segment that recovery does not scan: the damage is found
// when the segment is read.
func TestCorruptionInOldSegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	end := fill(t, l, 60)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	second := segments(t, dir)[1]
	edit(t, second, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	l = open(t, dir, small())
	ce := (*replog.CorruptError)(nil)
	if err := l.Replay(0, func(replog.Record) error { return nil }); !errors.As(err, &ce) ||
		ce.File != second {
		t.Errorf("Replay: %v", err)
	}
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for err == nil {
		at := r.Offset()
		var b []byte
		if b, err = r.Next(t.Context(), 0); !bytes.Equal(b, content(at, len(b))) {
			t.Fatalf("wrong bytes at %v", at)
		}
	}
	if ce = nil; !errors.As(err, &ce) || ce.File != second {
		t.Errorf("Next: %v", err)
	}
	readTo(t, l, 600, end, 0)
	// Truncated at a record boundary, the segment ends too early.
	edit(t, second, func(b []byte) []byte { return b[:segmentHeader] })
	l2 := open(t, dir, small())
	if err := l2.Replay(0, func(replog.Record) error { return nil }); !errors.As(err, &ce) {
		t.Errorf("Replay of a short segment: %v", err)
	}
}

// TestGap: segments before a missing one were being removed when the machine stopped.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	end := fill(t, l, 60)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names := segments(t, dir)
	if err := os.Remove(names[2]); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, small())
	if got := segments(t, dir); !slices.Equal(got, names[3:]) || l.End() != end {
		t.Fatalf("kept %q up to %v", got, l.End())
	}
	readTo(t, l, l.Start(), end, 0)
}

// TestInterruptedReset: a crash leaves either the old log or the new one.
func TestInterruptedReset(t *testing.T) {
	for n := 1; ; n++ {
		fs := memfs.New()
		c := small()
		c.FS = fs
		l, err := replog.Open("log", c)
		if err != nil {
			t.Fatal(err)
		}
		end := fill(t, l, 12)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		fs.FailAt(n, nil)
		err = l.Reset(5000)
		_ = l.Close()
		for i := range 4 {
			c.FS = fs.Copy()
			if i > 0 {
				c.FS = fs.PowerCut(rand.New(rand.NewPCG(uint64(n), uint64(i))))
			}
			again, e := replog.Open("log", c)
			if e != nil {
				t.Fatalf("step %d: %v", n, e)
			}
			switch {
			case again.Start() == 0 && again.End() == end && err != nil:
				readTo(t, again, 0, end, 0)
			case again.Start() == 5000 && again.End() == 5000:
			default:
				t.Fatalf("step %d: from %v to %v after %v", n, again.Start(), again.End(), err)
			}
			_ = again.Close()
		}
		if err == nil {
			if n < 5 {
				t.Fatalf("Reset took %d operations", n)
			}
			return
		}
	}
}

// TestLayout pins the bytes on disk.
func TestLayout(t *testing.T) { synctest.Test(t, testLayout) } // whose clock begins at 0x386d4380

func testLayout(t *testing.T) {
	dir := t.TempDir()
	l, err := replog.Create(dir, 258, replog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(replog.Ping, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	generation := binary.LittleEndian.AppendUint64(nil, l.Generation())
	want := []byte(
		"RFSEG001" + string(
			generation,
		) + "\x02\x01\x00\x00\x00\x00\x00\x00" + "\x02\x01\x00\x00\x00\x00\x00\x00" +
			"\x80\x43\x6d\x38",
	)
	want = binary.LittleEndian.AppendUint32(want, crc32.Checksum(want, table))
	body := []byte("\x03\x00\x00\x00" + "\x03" + "\x02\x01\x00\x00\x00\x00\x00")
	want = binary.LittleEndian.AppendUint32(want,
		crc32.Checksum(append(bytes.Clone(body), "abc"...), table))
	want = append(append(want, body...), "abc"...)
	got, err := os.ReadFile(segments(t, dir)[0])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("segment: %v\n got %q\nwant %q", err, got, want)
	}
	want = []byte(
		"RFSYN001" + string(generation) + "\x05\x01\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00",
	)
	want = binary.LittleEndian.AppendUint32(want, crc32.Checksum(want, table))
	got, err = os.ReadFile(filepath.Join(dir, "synced"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("mark: %v\n got %q\nwant %q", err, got, want)
	}
}
