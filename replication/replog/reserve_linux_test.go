package replog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rowfall/internal/servers/servertest"
	"rowfall/replication/replog"
)

// TestDiskFullForReal fills a small tmpfs, if one can be mounted.
func TestDiskFullForReal(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		servertest.SkipOrFail(t, fmt.Errorf("mount a tmpfs: %w", err))
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	}()
	c := replog.Config{SegmentSize: 1 << 20, Keep: -1, Fsync: replog.EverySecond}
	l, err := replog.Open(filepath.Join(dir, "log"), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for err == nil {
		_, err = l.Append(replog.Unit, content(l.End(), 5000))
	}
	wantFull(t, err)
	if l.End() < 5<<20 {
		t.Errorf("full at %v", l.End())
	}
	// Other files take the rest of the volume.
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 8<<20), 0o600); !errors.Is(err,
		syscall.ENOSPC) {
		t.Fatal(err)
	}
	for i := range 20_000 { // two days and more
		if _, err := l.Append(replog.Ping, content(l.End(), 14)); err != nil {
			t.Fatalf("ping %d: %v", i, err)
		}
	}
	_, err = l.Append(replog.Unit, content(l.End(), 1))
	wantFull(t, err)
	if err := os.Remove(filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	if err := l.Retain(l.End()); err != nil {
		t.Fatal(err)
	}
	if err := l.Trim(3 << 20); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, err := l.Append(replog.Unit, content(l.End(), 5000)); err != nil {
			t.Fatal(err)
		}
	}
	readTo(t, l, l.Start(), l.End(), 0)
	end := l.End()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = replog.Open(filepath.Join(dir, "log"), c); err != nil || l.End() != end {
		t.Fatalf("reopened: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
