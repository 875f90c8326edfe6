package replication

import (
	"sync"
	"sync/atomic"
)

const (
	loadingError    = "LOADING Redis is loading the dataset in memory"
	masterDownError = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data " +
		"is set to 'no'."
)

// readGate decides whether the node executes commands that need the data.
type readGate struct {
	mu     sync.Mutex             // serializes updateReadGate
	reason atomic.Pointer[string] // the error reply to these commands; nil: they execute
}

// error returns the error reply to commands that need the data, or "" if they execute.
func (g *readGate) error() string {
	if reason := g.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}

// updateReadGate computes the gate again; it is called whenever role, link or settings changed. A
// replica rejects commands that need the data during its first full resync, after it dropped the
// old data for a new full resync, and, if replica-serve-stale-data is no, without its upstream.
func (n *Node) updateReadGate() {
	n.readGate.mu.Lock() // an older decision must not overwrite a newer one
	defer n.readGate.mu.Unlock()
	reason := ""
	link, dropped := n.upstream.linkState()
	role, _ := n.Role()
	switch {
	case role == Master:
	case dropped, link == LinkTransfer && !n.isComplete() && n.Offset() == 0:
		reason = loadingError
	case link != LinkConnected && n.settings.refuseStale.Load():
		reason = masterDownError
	}
	if reason == "" {
		n.readGate.reason.Store(nil)
		return
	}
	n.readGate.reason.Store(&reason)
}
