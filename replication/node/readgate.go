package node

import (
	"sync"
	"sync/atomic"
)

// ReadRefusal is why commands that need the data must be rejected.
type ReadRefusal int32

// The reasons to reject commands that need the data.
const (
	// ReadsServed is the absence of a reason: the commands may be executed.
	ReadsServed ReadRefusal = iota
	// ReadsLoading means that the node has no data until a full resync is loaded.
	ReadsLoading
	// ReadsStale means that a replica has no upstream link, and stale reads are not allowed.
	ReadsStale
)

// readGate decides whether commands that need the data may be executed.
type readGate struct {
	mu      sync.Mutex   // serializes updateReadGate
	refusal atomic.Int32 // a ReadRefusal
}

// ReadRefusal returns why commands that need the data must be rejected now. It costs one atomic
// load.
func (n *Node) ReadRefusal() ReadRefusal { return ReadRefusal(n.readGate.refusal.Load()) }

// updateReadGate computes the gate again; it is called whenever role, link or settings changed. A
// replica rejects commands that need the data during its first full resync, after it freed the
// old data for a new full resync, and, if replica-serve-stale-data is no, without its upstream.
func (n *Node) updateReadGate() {
	n.readGate.mu.Lock() // an older decision must not overwrite a newer one
	defer n.readGate.mu.Unlock()
	refusal := ReadsServed
	link, missing := n.upstream.linkState()
	role, _ := n.Role()
	switch {
	case role == Master:
	case missing, link == LinkTransfer && !n.isComplete() && n.Offset() == 0:
		refusal = ReadsLoading
	case link != LinkConnected && n.settings.refuseStale.Load():
		refusal = ReadsStale
	}
	n.readGate.refusal.Store(int32(refusal))
}
