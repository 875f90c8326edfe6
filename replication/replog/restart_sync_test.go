package replog_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// A Sync was called at an offset of the old generation, and gets the lock after BeginReset has
// started a generation at a lower offset. It must not record bytes as durable that do not exist.
// Otherwise later calls of Sync would do nothing until the stream reached that offset.
func TestSyncAcrossReset(t *testing.T) {
	fs, reached, leave := memfs.New(), make(chan struct{}), make(chan struct{})
	newGeneration := func(op *faultfs.Op) bool {
		return op.Creates() && strings.HasSuffix(op.Name, "-00000000000000000010.seg")
	}
	block := faultfs.Before(func(*faultfs.Op) {
		close(reached)
		<-leave
	})
	gated := faultfs.Wrap(fs, faultfs.If(newGeneration, faultfs.Once(block)))
	l, err := replog.Open("log", replog.Config{Fsync: replog.Never, FS: gated})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(replog.Unit, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	restarted, synced := make(chan error, 1), make(chan error, 1)
	go func() {
		removeOld, err := l.BeginReset(10)
		if err == nil {
			err = removeOld()
		}
		restarted <- err
	}()
	<-reached
	go func() { synced <- l.Sync() }()
	// Wait until the goroutine is in Sync, where it waits for the lock that BeginReset holds.
	stacks, call := make([]byte, 1<<20), []byte("(*Log).Sync(")
	for !bytes.Contains(stacks[:runtime.Stack(stacks, true)], call) {
		runtime.Gosched()
	}
	close(leave)
	for _, done := range []chan error{restarted, synced} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if l.Synced() > l.End() {
		t.Errorf("the log is durable up to %v and ends at %v", l.Synced(), l.End())
	}
	if _, err := l.Append(replog.Unit, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	end, cut := l.End(), fs.PowerCut(rand.New(rand.NewPCG(1, 2)))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for what, volume := range map[string]disk.FS{"a power cut": cut, "a clean end": fs} {
		again, err := replog.Open("log", replog.Config{FS: volume})
		if err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
		if again.End() != end {
			t.Errorf("after %s the log ends at %v, want %v", what, again.End(), end)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}
