package replog_test

import (
	"os"
	"path/filepath"
	"testing"

	"rowfall/replication/replog"
)

// Two logs that start at the same offset have different generations, so that a node notices that
// its log was removed.
func TestGenerationIdentifiesTheLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	first := l.Generation()
	if !l.Recovery().Created {
		t.Error("Open does not report that it began a log")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, small())
	if l.Generation() != first || l.Recovery().Created {
		t.Errorf("the generation was %x and is %x: %+v", first, l.Generation(), l.Recovery())
	}
	if err := l.Reset(70); err != nil {
		t.Fatal(err)
	}
	second := l.Generation()
	if second <= first {
		t.Errorf("Reset lowers the generation from %x to %x", first, second)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, small())
	if g := l.Generation(); g == first || g == second || !l.Recovery().Created {
		t.Errorf("the log in the place of a removed one has its generation %x", g)
	}
}

// A log of a program version that counted generations from 1 can be read, and Reset changes to the
// new numbers.
func TestNumberedGeneration(t *testing.T) {
	l := open(t, renumbered(t, build(t, true)), small())
	if l.Generation() != 1 || l.End() != 100 {
		t.Fatalf("generation %d ends at %v", l.Generation(), l.End())
	}
	end := fill(t, l, 20)
	readTo(t, l, 0, end, 0)
	if err := l.Reset(70); err != nil {
		t.Fatal(err)
	}
	if l.Generation() <= 1<<32 {
		t.Errorf("after a Reset the generation is %x", l.Generation())
	}
}

// The newest segment was removed before any of it was known to be durable. The log ends after a
// complete record, as after a stop that lost nothing, but replicas may hold more.
func TestMissingNewestSegments(t *testing.T) {
	for missing := range 3 {
		dir := t.TempDir()
		c := replog.Config{
			SegmentSize: segmentHeader + 5*(recordHeader+10), Keep: -1,
			Fsync: replog.Never,
		}
		l := open(t, dir, c)
		for range 12 {
			if _, err := l.Append(replog.Unit, content(l.End(), 10)); err != nil {
				t.Fatal(err)
			}
		}
		mark, err := os.ReadFile(filepath.Join(dir, replog.SyncedFile))
		if err != nil {
			t.Fatal(err)
		}
		crashed := t.TempDir()
		names := segments(t, dir)
		for _, name := range names[:len(names)-missing] {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(crashed, filepath.Base(name))
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// The first part of the mark claims what is durable: at most the first segment.
		copy(mark[:32], make([]byte, 32))
		if err := os.WriteFile(filepath.Join(crashed, replog.SyncedFile), mark, 0o600); err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			l := open(t, crashed, c)
			if got, want := l.Recovery().Lost, missing > 0 && again == 0; got != want {
				t.Errorf("%d segments missing, start %d: lost is %v", missing, again+1, got)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
