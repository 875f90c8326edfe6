package replication

import (
	"slices"
	"sync"
	"time"
)

// writeStalls are the reasons why Apply waits or is slowed, newest last. Several may overlap.
type writeStalls struct {
	mu      sync.Mutex
	reasons []*writeStall
	logged  time.Time // start of the last stall that was logged
}

// stallLogEvery limits the log lines of stalls that begin and end in quick succession, as on a disk
// that is almost full.
const stallLogEvery = time.Second

type writeStall struct {
	reason string
	since  time.Time
}

// newest returns the reason to show. It is zero while nothing stalls.
func (h *writeStalls) newest() writeStall {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reasons) == 0 {
		return writeStall{}
	}
	return *h.reasons[len(h.reasons)-1]
}

// Held returns why Apply waits or is slowed, and since when. Both are zero while it does not.
func (n *Node) Held() (reason string, since time.Time) {
	h := n.stalls.newest()
	return h.reason, h.since
}

// stall records that writing waits or is slowed, until release is called.
func (n *Node) stall(reason string) (release func()) {
	h := &writeStall{reason, time.Now()}
	n.stalls.mu.Lock()
	n.stalls.reasons = append(n.stalls.reasons, h)
	log := h.since.Sub(n.stalls.logged) >= stallLogEvery
	if log {
		n.stalls.logged = h.since
	}
	n.stalls.mu.Unlock()
	event := n.logger.Warn
	if !log {
		event = n.logger.Debug
	}
	event().Str("why", reason).Stringer("offset", n.Offset()).Msg("writing is held back")
	return func() {
		n.stalls.mu.Lock()
		n.stalls.reasons = slices.DeleteFunc(n.stalls.reasons,
			func(o *writeStall) bool { return o == h })
		n.stalls.mu.Unlock()
		if log {
			n.logger.Info().Str("why", reason).Dur("after", time.Since(h.since)).
				Msg("writing goes on")
		}
	}
}
