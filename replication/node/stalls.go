package node

import (
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/replog"
)

// writeStalls are the reasons why Apply waits or is slowed, newest last. Several may overlap.
type writeStalls struct {
	logger zerolog.Logger

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

// newest returns the stall to show. It is zero while Apply does not wait.
func (h *writeStalls) newest() writeStall {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reasons) == 0 {
		return writeStall{}
	}
	return *h.reasons[len(h.reasons)-1]
}

// Held returns why Apply waits or is slowed, and since when. Both are zero otherwise.
func (n *Node) Held() (reason string, since time.Time) {
	h := n.stalls.newest()
	return h.reason, h.since
}

// stall records that Apply waits or is slowed, until release is called.
func (n *Node) stall(reason string) (release func()) { return n.stalls.begin(reason, n.Offset()) }

// begin adds a reason, until release is called. at is the end of the log, for the log line.
func (h *writeStalls) begin(reason string, at replog.Offset) (release func()) {
	stall := &writeStall{reason, time.Now()}
	h.mu.Lock()
	h.reasons = append(h.reasons, stall)
	log := stall.since.Sub(h.logged) >= stallLogEvery
	if log {
		h.logged = stall.since
	}
	h.mu.Unlock()
	event := h.logger.Warn
	if !log {
		event = h.logger.Debug
	}
	event().Str("why", reason).Stringer("offset", at).Msg("writing stalls")
	return func() {
		h.mu.Lock()
		h.reasons = slices.DeleteFunc(h.reasons,
			func(o *writeStall) bool { return o == stall })
		h.mu.Unlock()
		if log {
			h.logger.Info().Str("why", reason).Dur("after", time.Since(stall.since)).
				Msg("writing continues")
		}
	}
}
