package replog_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// inMemory builds a log with records and segments on a disk that can have bad sectors. The process
// was killed, so no file records what is durable.
func inMemory(t *testing.T,
	records int,
) (volume *memfs.FS, c replog.Config, names []string, end replog.Offset) {
	t.Helper()
	volume, c = memfs.New(), small()
	c.FS = volume
	l := open(t, "log", c)
	end = fill(t, l, records)
	volume = volume.Copy()
	if err := volume.Remove("log/synced"); err != nil {
		t.Fatal(err)
	}
	for _, name := range volume.Names("log") {
		if strings.HasSuffix(name, ".seg") {
			names = append(names, filepath.Join("log", name))
		}
	}
	c.FS = volume
	return volume, c, names, end
}

// wantDamage checks that an error reports damage in a file, at or before a position.
func wantDamage(t *testing.T, err error, file string, at int64) {
	t.Helper()
	ce := (*replog.CorruptError)(nil)
	if !errors.As(err, &ce) || ce.File != file || ce.Offset > at {
		t.Fatalf("byte %d of %s cannot be read: %v", at, file, err)
	}
}

// A bad sector in an old segment must not be read repeatedly by each replica that returns for it.
// Two failed reads are retried; the third is damage. The bytes before it were returned.
func TestUnreadable(t *testing.T) {
	for at := int64(segmentHeader); at < 400; at += 7 {
		for _, tries := range []int{2, -1} {
			volume, c, names, end := inMemory(t, 60)
			l := open(t, "log", c)
			volume.Damage(names[1], at, tries)
			err := l.Replay(0, func(replog.Record) error { return nil })
			volume.Damage(names[1], at, tries)
			if tries > 0 {
				if err != nil {
					t.Fatal(err)
				}
				readTo(t, l, 0, end, 0)
				continue
			}
			wantDamage(t, err, names[1], at)
			r, err := l.NewReader(0)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				from := r.Offset()
				var b []byte
				if b, err = r.Next(t.Context(), 0); !bytes.Equal(b, content(from, len(b))) {
					t.Fatalf("wrong bytes at %v", from)
				}
			}
			wantDamage(t, err, names[1], at)
			_ = r.Close()
			ce := (*replog.CorruptError)(nil)
			errors.As(err, &ce)
			start, err := l.ExcludeDamaged(ce)
			if err != nil {
				t.Fatal(err)
			}
			readTo(t, l, start, end, 0)
		}
	}
}

// A record too large to be held in memory is read from the file again after it was checked.
func TestUnreadableInBigRecord(t *testing.T) {
	volume, c := memfs.New(), small()
	c.FS = volume
	l := open(t, "log", c)
	for range 2 {
		if _, err := l.Append(replog.Unit, content(l.End(), 3<<20)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, l, 5)
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Next(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	name, at := filepath.Join("log", volume.Names("log")[0]), int64(2<<20)
	volume.Damage(name, at, -1)
	for err == nil {
		_, err = r.Next(t.Context(), 0)
	}
	wantDamage(t, err, name, at)
	if r.Offset() < 1<<20 {
		t.Errorf("the reader stopped at %v", r.Offset())
	}
}

// A start that cannot read a position of the log never treats that as a torn tail: nothing is cut,
// and the error names the position. A repair keeps the undamaged records before it, because its
// caller can produce the rest again.
func TestUnreadableAtOpen(t *testing.T) {
	_, _, names, _ := inMemory(t, 60)
	for _, name := range append(names[len(names)-2:], "log/synced") {
		for at := int64(0); ; at++ {
			volume, c, _, end := inMemory(t, 60)
			if name == "log/synced" {
				volume.Put(name, make([]byte, 32))
			}
			if at == int64(len(volume.Data(name))) {
				break
			}
			before := volume.Copy()
			volume.Damage(name, at, 2)
			if l := open(t, "log", c); l.End() != end {
				t.Fatalf("the log ends at %v", l.End())
			}
			c.FS = before
			before.Damage(name, at, -1)
			untouched := before.Copy()
			_, err := replog.Open("log", c)
			wantDamage(t, err, name, at)
			if !before.Equal(untouched) {
				t.Fatalf("byte %d of %s: the files were changed", at, name)
			}
			for _, from := range []replog.Offset{0, end - 100, end} {
				volume := before.Copy()
				c.FS = volume
				l, err := replog.Repair("log", from, c)
				if err != nil {
					t.Fatal(err)
				}
				if l.Start() > from || l.End() < from || !l.Recovery().Lost && l.End() != end {
					t.Fatalf("byte %d of %s, from %v: %v to %v, %+v", at, name, from, l.Start(),
						l.End(), l.Recovery())
				}
				repaired := fill(t, l, 3)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l = open(t, "log", c); l.End() != repaired {
					t.Fatalf("then the log ends at %v, want %v", l.End(), repaired)
				}
				if from > 0 {
					continue // what lies before it may be as it was
				}
				if err := l.Replay(0, func(replog.Record) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// A file that cannot be opened, for example for want of descriptors, is not damage, however often
// that happens.
func TestUnopenableIsNoDamage(t *testing.T) {
	volume, c, _, end := inMemory(t, 60)
	l := open(t, "log", c)
	volume.FailAt(1, syscall.EMFILE)
	for range 5 {
		r, err := l.NewReader(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.Next(t.Context(), 0); !errors.Is(err, syscall.EMFILE) ||
			errors.As(err, new(*replog.CorruptError)) {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	volume.FailAt(0, nil)
	readTo(t, l, 0, end, 0)
}
