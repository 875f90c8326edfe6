package pipelines

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Hold is a cause that keeps a pipeline from making progress although nothing has failed. The zero
// Hold is none.
type Hold struct {
	// Reason names what the pipeline waits for, and Since is when the wait began.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// String returns "reason, since TIME".
func (h Hold) String() string {
	return h.Reason + ", since " + h.Since.UTC().Format(time.RFC3339)
}

// holdThreshold is how long a wait lasts before it counts as a hold.
const holdThreshold = time.Second

// holds collects what may hold a pipeline or its jobs: its sink, table locks, queries without an
// answer, and the throttle of jobs.
// Any goroutine may use it.
type holds struct {
	mu      sync.Mutex
	sources map[holdSource]struct{}
}

// holdSource is something that may wait. Any goroutine may call hold, which returns a zero Since
// while it does not wait.
type holdSource interface{ hold() Hold }

// add adds a source, until remove is called.
func (h *holds) add(w holdSource) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = make(map[holdSource]struct{})
	}
	h.sources[w] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.sources, w)
	}
}

// Now returns those of the sources and of others that have lasted for holdThreshold, oldest first. A
// Hold with a zero Since does not count.
func (h *holds) Now(others ...Hold) []Hold {
	var found []Hold
	candidates := slices.Clone(others)
	h.mu.Lock()
	for w := range h.sources {
		candidates = append(candidates, w.hold())
	}
	h.mu.Unlock()
	for _, c := range candidates {
		if !c.Since.IsZero() && time.Since(c.Since) >= holdThreshold {
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
