package replog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// FuzzOldSegment opens a log in which an older segment, which is checked only when it is read,
// holds arbitrary bytes. Readers return no byte that was not written. They report the damage, and
// reading continues after it.
func FuzzOldSegment(f *testing.F) {
	dir := f.TempDir()
	c := replog.Config{SegmentSize: segmentHeader + 5*(recordHeader+10), Keep: -1}
	l, err := replog.Open(dir, c)
	if err != nil {
		f.Fatal(err)
	}
	for range 20 {
		if _, err := l.Append(replog.Unit, content(l.End(), 10)); err != nil {
			f.Fatal(err)
		}
	}
	end := l.End()
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	base := memfs.New()
	for _, name := range listed(f, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		base.Put(filepath.Join("log", filepath.Base(name)), b)
	}
	old := segments(f, dir)[1]
	b, err := os.ReadFile(old)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add(b[:segmentHeader])
	f.Add(b[:5])
	for _, at := range []int{
		segmentHeader, segmentHeader + 4, segmentHeader + 8, segmentHeader + 9, len(b) - 1,
	} {
		bad := bytes.Clone(b)
		bad[at] ^= 0x41
		f.Add(bad)
	}
	huge := bytes.Clone(b)
	binary.LittleEndian.PutUint32(huge[segmentHeader+4:], 1<<30)
	f.Add(huge)
	f.Fuzz(func(t *testing.T, segment []byte) {
		if len(segment) > 1<<16 {
			return
		}
		c := c
		fs := base.Copy()
		fs.Put(filepath.Join("log", filepath.Base(old)), segment)
		c.FS = fs
		l, err := replog.Open("log", c)
		var damage *replog.CorruptError
		if err != nil {
			if !errors.As(err, &damage) {
				t.Fatal(err)
			}
			return
		}
		defer l.Close()
		at, err := readUntil(t, l, 0, end)
		if err == nil {
			return
		}
		if !errors.As(err, &damage) || at >= end {
			t.Fatalf("read to %v, then %v", at, err)
		}
		if err := l.Replay(0, func(replog.Record) error { return nil }); !errors.As(err, &damage) {
			t.Errorf("replayed although it cannot be read: %v", err)
		}
		start, err := l.ExcludeDamaged(damage)
		if err != nil || start <= at {
			t.Fatalf("read to %v, and after the damage it begins at %v, %v", at, start, err)
		}
		if _, err := readUntil(t, l, start, end); err != nil {
			t.Errorf("behind the damage: %v", err)
		}
	})
}

// readUntil reads from one offset to another, or to an error, and returns the offset reached.
func readUntil(t *testing.T, l *replog.Log, from, to replog.Offset) (replog.Offset, error) {
	t.Helper()
	r, err := l.NewReader(from)
	if err != nil {
		return from, err
	}
	defer r.Close()
	for r.Offset() < to {
		at := r.Offset()
		b, err := r.Next(context.Background(), 0)
		if err != nil {
			return at, err
		}
		if !bytes.Equal(b, content(at, len(b))) {
			t.Fatalf("other bytes at %v", at)
		}
	}
	return to, nil
}

// renumbered gives a log that build wrote generation 1, the first number of program versions before
// random generations.
func renumbered(t testing.TB, dir string) string {
	t.Helper()
	table := crc32.MakeTable(crc32.Castagnoli)
	number := func(b []byte, size int) {
		binary.LittleEndian.PutUint64(b[8:], 1)
		binary.LittleEndian.PutUint32(b[size-4:], crc32.Checksum(b[:size-4], table))
	}
	for _, name := range segments(t, dir) {
		edit(t, name, func(b []byte) []byte { number(b, segmentHeader); return b })
		_, start, _ := strings.Cut(filepath.Base(name), "-")
		if err := os.Rename(name, filepath.Join(dir, "00000001-"+start)); err != nil {
			t.Fatal(err)
		}
	}
	if mark := filepath.Join(dir, replog.SyncedFile); fileExists(t, mark) {
		edit(t, mark, func(b []byte) []byte { number(b, 32); return b[:32] })
	}
	return dir
}

func fileExists(t testing.TB, name string) bool {
	t.Helper()
	_, err := os.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// FuzzRecovery opens a log whose newest segment holds arbitrary bytes. Open either rejects it
// without a change, or returns a usable log that stays unchanged at the next Open.
func FuzzRecovery(f *testing.F) {
	last := segments(f, renumbered(f, build(f, false)))[1]
	b, err := os.ReadFile(last)
	if err != nil {
		f.Fatal(err)
	}
	for _, clean := range []bool{false, true} {
		f.Add(b, clean)
		f.Add(b[:len(b)-3], clean)
		f.Add(b[:segmentHeader], clean)
		f.Add([]byte{}, clean)
	}
	huge := bytes.Clone(b)
	binary.LittleEndian.PutUint32(huge[segmentHeader+4:], 1<<30)
	f.Add(huge, false)
	base := map[bool]*memfs.FS{}
	for _, clean := range []bool{false, true} {
		fs := memfs.New()
		for _, name := range listed(f, renumbered(f, build(f, clean))) {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			fs.Put(filepath.Join("log", filepath.Base(name)), b)
		}
		base[clean] = fs
	}
	f.Fuzz(func(t *testing.T, newest []byte, clean bool) {
		if len(newest) > 1<<16 {
			return
		}
		fs := base[clean].Copy()
		fs.Put("log/"+filepath.Base(last), newest)
		c := small()
		c.FS = fs.Copy()
		l, err := replog.Open("log", c)
		if err != nil {
			if !errors.As(err, new(*replog.CorruptError)) || !fs.Equal(c.FS.(*memfs.FS)) {
				t.Fatalf("rejected with %v, or changed", err)
			}
			return
		}
		if l.End() < 50 || clean && l.End() < 100 {
			t.Fatalf("ends at %v", l.End())
		}
		end := replog.Offset(0)
		if err := l.Replay(0, func(r replog.Record) error {
			if r.Start != end || len(r.Payload) == 0 {
				t.Fatalf("record at %v, want %v", r.Start, end)
			}
			end = r.End()
			return nil
		}); err != nil || end != l.End() {
			t.Fatalf("replayed to %v of %v: %v", end, l.End(), err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = replog.Open("log", c); err != nil || l.End() != end || l.Recovery().Cut != 0 {
			t.Fatalf("opened again: %v", err)
		}
		_ = l.Close()
	})
}
