package replog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// damaged builds a log with damage in the middle of a segment that Open does not scan, and returns
// where the log ends.
func damaged(t *testing.T) (dir string, end replog.Offset) {
	t.Helper()
	dir = t.TempDir()
	l := open(t, dir, small())
	end = fill(t, l, 100)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, segments(t, dir)[4], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	return dir, end
}

func TestExcludeDamaged(t *testing.T) {
	dir, end := damaged(t)
	l := open(t, dir, small())
	r, err := l.NewReader(10)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next(t.Context(), 0)
	}
	at := (*replog.CorruptError)(nil)
	if !errors.As(err, &at) || at.Offset == 0 {
		t.Fatal(err)
	}
	start, err := l.ExcludeDamaged(at)
	if err != nil || start != l.Start() || start == 0 || start > end {
		t.Fatalf("begins at %v: %v", start, err)
	}
	if _, err := l.NewReader(start - 1); !errors.Is(err, replog.ErrTrimmed) {
		t.Errorf("a reader before it: %v", err)
	}
	readTo(t, l, start, end, 0)
	// The files stay because a restart needs them: it will find the damage, and repair the log.
	if n := len(segments(t, dir)); !strings.HasSuffix(segments(t, dir)[0],
		"-00000000000000000000.seg") {
		t.Errorf("%d segments left", n)
	}
	if err := l.Retain(end); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at.File); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", at.File, err)
	}
	if again, err := l.ExcludeDamaged(at); err != nil || again != start {
		t.Errorf("excluded again: %v, %v", again, err)
	}
	readTo(t, l, start, fill(t, l, 20), 0)
}

// TestExcludeDamagedNewest: damage in the segment that is being written does not end the log
// either.
func TestExcludeDamagedNewest(t *testing.T) {
	dir := t.TempDir()
	c := small()
	c.SegmentSize = 1 << 20
	l := open(t, dir, c)
	fill(t, l, 100)
	name := segments(t, dir)[0]
	edit(t, name, func(b []byte) []byte { b[1000] ^= 1; return b })
	err := l.Replay(0, func(replog.Record) error { return nil })
	at := (*replog.CorruptError)(nil)
	if !errors.As(err, &at) || at.File != name {
		t.Fatal(err)
	}
	start, err := l.ExcludeDamaged(at)
	if err != nil || start != l.End() {
		t.Fatalf("begins at %v: %v", start, err)
	}
	// The memory window still holds the bytes for a replica that lost its connection.
	readTo(t, l, start-500, start, 0)
	end := fill(t, l, 100)
	readTo(t, l, start, end, 0)
	n := 0
	if err := l.Replay(start, func(replog.Record) error { n++; return nil }); err != nil ||
		n != 100 {
		t.Errorf("%d records: %v", n, err)
	}
}

// TestRepair continues from a snapshot at any record before, in or after the damage.
func TestRepair(t *testing.T) {
	dir, end := damaged(t)
	var edges []replog.Offset
	l := open(t, dir, small())
	err := l.Replay(0, func(r replog.Record) error { edges = append(edges, r.Start); return nil })
	if !errors.As(err, new(*replog.CorruptError)) {
		t.Fatal(err)
	}
	damage := edges[len(edges)-1] + 1 // and a little more
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for from := replog.Offset(0); from <= end+5; from++ {
		fs := memCopy(t, dir)
		c := small()
		c.FS = fs
		name := fmt.Sprintf("from %v, damage after %v of %v", from, damage, end)
		l, err := replog.Repair("log", from, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l.Start() > from || l.End() < from || !l.Recovery().Lost && l.End() != end {
			t.Fatalf("%s: from %v to %v with %+v", name, l.Start(), l.End(), l.Recovery())
		}
		if err := l.Replay(from, func(r replog.Record) error {
			if !bytes.Equal(r.Payload, content(r.Start, len(r.Payload))) {
				t.Fatalf("wrong bytes at %v", r.Start)
			}
			return nil
		}); err != nil && !strings.Contains(err.Error(), "is inside the record") {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case from < edges[len(edges)-1] &&
			(l.Start() != 0 || l.End() < edges[len(edges)-1] || !l.Recovery().Lost):
			t.Fatalf("%s: from %v to %v with %+v", name, l.Start(), l.End(), l.Recovery())
		case from > damage+400 && from <= end && l.Recovery().Lost:
			t.Fatalf("%s: lost something", name)
		}
		repaired := fill(t, l, 3)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = replog.Open("log", c); err != nil || l.End() != repaired {
			t.Fatalf("%s: reopened: %v", name, err)
		}
		_ = l.Close()
	}
}

// TestRepairRefused repairs what Open rejects: every entry of the table of corruptions after a
// clean stop, and missing files.
func TestRepairRefused(t *testing.T) {
	truncate := func(segment int, size int64) func(dir string) error {
		return func(dir string) error { return os.Truncate(segments(t, dir)[segment], size) }
	}
	for name, damage := range map[string]func(dir string) error{
		"first segment's header": truncate(0, 20),
		"last segment's header":  truncate(1, 20),
		"last segment's end":     truncate(1, 100),
		"last segment is gone":   func(dir string) error { return os.Remove(segments(t, dir)[1]) },
		"first and last are gone": func(dir string) error {
			return errors.Join(os.Remove(segments(t, dir)[1]), os.Remove(segments(t, dir)[0]))
		},
	} {
		for from := replog.Offset(0); from <= 100; from += 10 {
			dir := build(t, true)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if l, err := replog.Open(dir, small()); !errors.As(err, new(*replog.CorruptError)) {
				t.Fatalf("%s: opened: %v, %v", name, l, err)
			}
			l, err := replog.Repair(dir, from, small())
			if err != nil || l.Start() > from || l.End() < from || !l.Recovery().Lost && from < 50 {
				t.Fatalf("%s: from %v: %v", name, from, err)
			}
			_ = l.Close()
		}
	}
}

// memCopy copies a directory into memory, as the directory "log".
func memCopy(t *testing.T, dir string) *memfs.FS {
	t.Helper()
	fs := memfs.New()
	for _, name := range listed(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fs.Put(filepath.Join("log", filepath.Base(name)), b)
	}
	return fs
}
