package node

import (
	"sync"
	"sync/atomic"
)

// ReadRejection is why commands that need the data must be rejected.
type ReadRejection int32

// The reasons to reject commands that need the data.
const (
	// ReadsServed is the absence of a reason: the commands may be executed.
	ReadsServed ReadRejection = iota
	// ReadsLoading means that the node has no data until a full resync is loaded.
	ReadsLoading
	// ReadsStale means that a replica has no upstream link, and stale reads are not allowed.
	ReadsStale
)

// readGate decides whether commands that need the data may be executed.
type readGate struct {
	mu        sync.Mutex   // serializes updateReadGate
	rejection atomic.Int32 // a ReadRejection
}

// ReadRejection returns why commands that need the data must be rejected now. It costs one atomic
// load.
func (n *Node) ReadRejection() ReadRejection { return ReadRejection(n.readGate.rejection.Load()) }

// updateReadGate decides again. It is called whenever role, link or settings have changed. A
// replica rejects commands that need the data during its first full resync, after it freed the old
// data for a new full resync, and, if replica-serve-stale-data is no, without its upstream.
func (n *Node) updateReadGate() {
	n.readGate.mu.Lock() // so that an older decision does not overwrite a newer one
	defer n.readGate.mu.Unlock()
	rejection := ReadsServed
	link, missing := n.upstream.linkState()
	role, _ := n.Role()
	switch {
	case role == Master:
	case missing, link == LinkTransfer && !n.isComplete() && n.Offset() == 0:
		rejection = ReadsLoading
	case link != LinkConnected && n.settings.rejectStale.Load():
		rejection = ReadsStale
	}
	n.readGate.rejection.Store(int32(rejection))
}
