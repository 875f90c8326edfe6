package holds

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Hold is a cause that keeps a pipeline from making progress although nothing has failed. The zero
// Hold means that the pipeline does not wait.
type Hold struct {
	// Reason names what the pipeline waits for, and Since is when the wait began.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// String returns "reason, since TIME".
func (h Hold) String() string {
	return h.Reason + ", since " + h.Since.UTC().Format(time.RFC3339)
}

// threshold is how long a wait lasts before it counts as a hold.
const threshold = time.Second

// Set collects what may hold a pipeline or its jobs: table locks, queries without an answer, the
// throttle of jobs. Its zero value is empty. Any goroutine may use it.
type Set struct {
	mu      sync.Mutex
	waiters map[Waiter]struct{}
}

// Waiter is something that may wait. Any goroutine may call Hold, which returns the zero Hold while
// the Waiter does not wait.
type Waiter interface{ Hold() Hold }

// Add adds a Waiter, until remove is called.
func (s *Set) Add(w Waiter) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters == nil {
		s.waiters = make(map[Waiter]struct{})
	}
	s.waiters[w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters, w)
	}
}

// Now returns the holds of the waiters, and those of others, that have lasted for the threshold of
// one second; the oldest first.
func (s *Set) Now(others ...Hold) []Hold {
	var found []Hold
	candidates := slices.Clone(others)
	s.mu.Lock()
	for w := range s.waiters {
		candidates = append(candidates, w.Hold())
	}
	s.mu.Unlock()
	for _, c := range candidates {
		if !c.Since.IsZero() && time.Since(c.Since) >= threshold {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b Hold) int {
		if n := a.Since.Compare(b.Since); n != 0 {
			return n
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return found
}
