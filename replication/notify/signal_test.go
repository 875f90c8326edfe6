package notify_test

import (
	"sync"
	"testing"

	"rowfall/replication/notify"
)

// A Notify wakes every waiter that called Next before, and none that calls Next afterwards.
func TestSignal(t *testing.T) {
	var s notify.Signal
	s.Notify() // without waiters it has no effect
	first, second := s.Next(), s.Next()
	if notify.IsClosed(first) || notify.IsClosed(second) {
		t.Fatal("a waiter is woken without a Notify after its Next")
	}
	s.Notify()
	if !notify.IsClosed(first) || !notify.IsClosed(second) {
		t.Error("a waiter is not woken")
	}
	if notify.IsClosed(s.Next()) {
		t.Error("a waiter is woken by an earlier Notify")
	}
}

// Waiters that call Next before they read the state miss no change of it.
func TestSignalMissesNothing(t *testing.T) {
	const changes = 1000
	var (
		s     notify.Signal
		mu    sync.Mutex
		state int
		wg    sync.WaitGroup
	)
	for range 4 {
		wg.Go(func() {
			for {
				changed := s.Next()
				mu.Lock()
				done := state == changes
				mu.Unlock()
				if done {
					return
				}
				<-changed
			}
		})
	}
	for range changes {
		mu.Lock()
		state++
		mu.Unlock()
		s.Notify()
	}
	wg.Wait()
}
