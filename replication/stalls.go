package replication

import (
	"slices"
	"sync"
	"time"
)

// holds are the reasons why Apply waits, newest last. There may be several at once, and the end of
// one leaves the others.
type writeStalls struct {
	mu      sync.Mutex
	reasons []*writeStall
	logged  time.Time // when one began that was logged
}

// stallLogEvery bounds how often holds are logged that begin and end again and again, such as on a
// disk that is full but for a little.
const stallLogEvery = time.Second

type writeStall struct {
	reason string
	since  time.Time
}

// newest returns the reason to show; it is zero while Apply does not wait.
func (h *writeStalls) newest() writeStall {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reasons) == 0 {
		return writeStall{}
	}
	return *h.reasons[len(h.reasons)-1]
}

// Held returns why Apply waits or is slowed, and since when; both are zero while it is not.
func (n *Node) Held() (reason string, since time.Time) {
	h := n.stalls.newest()
	return h.reason, h.since
}

// hold notes that Apply waits, and why; release notes that it goes on.
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
		n.stalls.reasons = slices.DeleteFunc(n.stalls.reasons, func(o *writeStall) bool { return o == h })
		n.stalls.mu.Unlock()
		if log {
			n.logger.Info().Str("why", reason).Dur("after", time.Since(h.since)).Msg("writing goes on")
		}
	}
}
