package replication

import (
	"sync"
	"sync/atomic"
)

// signal is a wake-up that costs one load while nobody waits.
type signal struct {
	asked atomic.Bool
	mu    sync.Mutex
	ch    chan struct{}
}

// wait returns a channel that the next wake closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	s.asked.Store(true)
	return s.ch
}

func (s *signal) wake() {
	if !s.asked.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Store(false)
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
