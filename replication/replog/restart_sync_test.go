package replog_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// heldFS blocks the creation of the second generation's first segment.
type heldFS struct {
	*memfs.FS
	armed          atomic.Bool
	reached, leave chan struct{}
}

func (h *heldFS) Open(name string, flag int) (disk.File, error) {
	if strings.HasSuffix(name, "-00000000000000000010.seg") && h.armed.CompareAndSwap(true, false) {
		close(h.reached)
		<-h.leave
	}
	return h.FS.Open(name, flag)
}

// A Sync was called at an offset of the old generation, and gets the lock after Restart has started
// a generation at a lower offset. It must not record bytes as durable that do not exist. Otherwise
// later calls of Sync would do nothing until the stream reached that offset.
func TestSyncAcrossRestart(t *testing.T) {
	h := &heldFS{FS: memfs.New(), reached: make(chan struct{}), leave: make(chan struct{})}
	l, err := replog.Open("log", replog.Config{Fsync: replog.Never, FS: h})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(replog.Unit, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	h.armed.Store(true)
	restarted, synced := make(chan error, 1), make(chan error, 1)
	go func() {
		removeOld, err := l.Restart(10)
		if err == nil {
			err = removeOld()
		}
		restarted <- err
	}()
	<-h.reached
	go func() { synced <- l.Sync() }()
	for stacks := make([]byte, 1<<20); !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*Log).Sync(")); {
		runtime.Gosched() // until it waits for its turn, which Restart has
	}
	close(h.leave)
	for _, done := range []chan error{restarted, synced} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if l.Synced() > l.End() {
		t.Errorf("it is durable up to %v and ends at %v", l.Synced(), l.End())
	}
	if _, err := l.Append(replog.Unit, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	end, cut := l.End(), h.PowerCut(rand.New(rand.NewPCG(1, 2)))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for what, volume := range map[string]disk.FS{"a power cut": cut, "a clean end": h.FS} {
		again, err := replog.Open("log", replog.Config{FS: volume})
		if err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
		if again.End() != end {
			t.Errorf("after %s it ends at %v, not %v", what, again.End(), end)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}
