// Package notify wakes goroutines that wait for a change of state.
//
// A waiter gets a channel from Signal.Next, then reads the state, and waits on the channel if the
// state is not the one that it needs. In this order a change between the two steps is not missed.
// The goroutine that changes the state calls Notify afterwards.
//
// The package imports nothing of the module, so every package of replication may use it.
package notify

import (
	"sync"
	"sync/atomic"
)

// Signal wakes any number of waiters. The zero Signal is ready for use.
type Signal struct {
	waited atomic.Bool // ch may have waiters
	mu     sync.Mutex
	ch     chan struct{}
}

// Next returns a channel that the next Notify closes.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	s.waited.Store(true)
	return s.ch
}

// Notify closes the channels that Next has returned. Without waiters it costs one atomic load.
func (s *Signal) Notify() {
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

// IsClosed reports whether c is closed. Nothing may be sent on c, because IsClosed would receive
// it.
func IsClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
