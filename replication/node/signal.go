package node

import (
	"sync"
	"sync/atomic"
)

// signal wakes any number of waiters. A wake without waiters costs one atomic load.
type signal struct {
	waited atomic.Bool // ch may have waiters
	mu     sync.Mutex
	ch     chan struct{}
}

// wait returns a channel that the next wake closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	s.waited.Store(true)
	return s.ch
}

// wake closes the channel that wait has returned since the last wake.
func (s *signal) wake() {
	if !s.waited.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited.Store(false)
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
