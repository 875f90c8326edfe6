package node

import (
	"sync/atomic"
	"time"

	"rowfall/replication/progress"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// Status describes a node, for INFO and metrics. Role, ids, offsets, upstream and replicas are of
// one moment; counters and sizes may be newer. It has more than 15 fields, because each field is
// one that INFO shows.
type Status struct {
	Addr     string // host:port on which the node listens
	Role     Role
	Term     Term
	Complete bool // the data are complete, so PSYNC is served
	// what an operator must do about a directory that seems lost; empty: nothing
	Advice     string
	ID         string        // the replication id, 40 hex digits
	PreviousID string        // the id before ID; empty: no earlier id
	PreviousTo replog.Offset // the last offset up to which PreviousID is valid
	Offset     replog.Offset // end of the replication log
	LogStart   replog.Offset // a partial resync needs an offset at or after it
	Keys       int           // as DBSIZE counts them
	HiddenKeys int           // keys with Config.HiddenPrefix, not included in Keys
	Clients    int           // connections, replicas included
	Memory     MemoryStatus
	Snapshot   SnapshotStatus
	Upstream   *UpstreamStatus // nil on a master
	Replicas   []ReplicaStatus

	Held         string // why Apply waits or is slowed; empty: no reason
	Failover     string // no-failover, waiting-for-sync or failover-in-progress
	GoodReplicas int    // replicas that keep up, as Config.MinReplicas counts them

	FullSyncs        int64 // requests answered with a full resync
	PartialSyncs     int64 // requests answered with a partial resync
	PartialsRejected int64 // requests for a partial resync answered with a full one
	ExpiredKeys      int64 // keys that this node deleted because they had expired
}

// MemoryStatus is the memory of keys and values in bytes, as of the last unit, and the memory of
// the log's window. On Linux these are memory pages outside Go's heap.
type MemoryStatus struct {
	Live    int64 // in use
	Garbage int64 // replaced, and kept for reuse or for readers and a snapshot
	Mapped  int64 // mapped from the system for keys and values
	Table   int64 // of the table of keys, about 11 bytes a key
	Window  int64 // of the part of the log that is in memory
}

// SnapshotStatus describes the newest snapshot file and the one being written.
type SnapshotStatus = snapshots.Status

// UpstreamStatus describes the link to the node's upstream.
type UpstreamStatus struct {
	Addr   string
	State  LinkState
	LastIO time.Time // when bytes last arrived; zero: never
	Since  time.Time // when State began
	Down   time.Time // when the link last went down; zero: never

	Received int64 // bytes of the snapshot that is being received
	Total    int64 // its size; -1: not announced

	Err string // why the last link ended or the node stopped following; empty: neither
	// Stopped is why the node stopped following: until a link is up again, its replicas get
	// NOMASTERLINK with this text. Empty: the node follows.
	Stopped string
}

// ReplicaStatus describes one replica of the node.
type ReplicaStatus struct {
	Addr    string // as announced, else the peer's host and listening port
	State   ReplicaState
	Sent    replog.Offset // log bytes written to its socket or being written; never less than Acked
	Acked   replog.Offset // the offset that the replica reported as applied
	Lag     time.Duration // since its last acknowledgement; 0 before the first
	Version string        // as announced; empty: the replica announced no version
}

// LinkState is the state of the link to the upstream.
//
//	Idle -> Connecting -> Handshake -> (Transfer ->) Connected
//	any of them -> Idle (retry after a pause) or Stopped (an operator must act)
type LinkState uint8

// The states of the upstream link.
const (
	LinkIdle       LinkState = iota // waiting to connect
	LinkConnecting                  // dialling
	LinkHandshake                   // handshake up to the reply to PSYNC
	LinkTransfer                    // receiving and loading a snapshot
	LinkConnected                   // streaming
	// LinkStopped: the upstream sent bytes that the node cannot apply; an operator must act.
	LinkStopped
)

// String returns the state in lower case.
func (s LinkState) String() string {
	return [...]string{"idle", "connecting", "handshake", "transfer", "connected", "stopped"}[s]
}

// ReplicaState is the phase of a replica's resync.
type ReplicaState = progress.State

// The states of a replica.
const (
	ReplicaWaiting = progress.Waiting // for a full resync slot and for a snapshot
	ReplicaSending = progress.Sending // the snapshot is being sent
	ReplicaLoading = progress.Loading // the whole snapshot was sent; no acknowledgement yet
	ReplicaOnline  = progress.Online  // it acknowledges the replication log
)

// stats are the core's counters.
type stats struct {
	expired, fullSyncs, partialOK, partialErr atomic.Int64
}

// ResetStats sets the counters of Status to 0, for CONFIG RESETSTAT.
func (n *Node) ResetStats() {
	for _, c := range []*atomic.Int64{
		&n.stats.expired, &n.stats.fullSyncs, &n.stats.partialOK, &n.stats.partialErr,
	} {
		c.Store(0)
	}
}

// Status returns the node's status without Clients, which the clients' side counts.
func (n *Node) Status() Status {
	st := n.replicationStatus()
	keys := n.Keyspace()
	all, _, hidden := keys.Counts()
	st.Keys, st.HiddenKeys = all-hidden, hidden
	m := keys.Memory()
	st.Memory = MemoryStatus{
		Live: m.Live, Garbage: m.Garbage + m.Retired, Mapped: m.Mapped,
		Table: keys.TableSize(), Window: n.log.WindowSize(),
	}
	st.Addr, st.Snapshot = n.Addr(), n.snaps.Status()
	st.FullSyncs, st.PartialSyncs = n.stats.fullSyncs.Load(), n.stats.partialOK.Load()
	st.PartialsRejected = n.stats.partialErr.Load()
	st.ExpiredKeys = n.stats.expired.Load()
	st.Held, st.Failover = n.stalls.newest().reason, n.failover.now()
	st.GoodReplicas, _ = n.quorum.count()
	return st
}

// replicationStatus returns the part of Status that is consistent. A full resync and a change of
// role change id and offsets under n.state. While n.state is locked, the log only grows at its end
// and loses its beginning, so offsets that are read earlier are never beyond those read later.
func (n *Node) replicationStatus() Status {
	n.state.Lock()
	defer n.state.Unlock()
	id := n.state.id
	role, term := roleOf(id)
	previous, to, _ := id.History.Previous()
	st := Status{
		Role: role, Term: term, Complete: n.state.complete, Advice: n.state.advice,
		ID: string(id.History.ID()), PreviousID: string(previous), PreviousTo: to,
	}
	st.Replicas = n.replicas.status()
	st.LogStart = n.log.Start()
	st.Offset = n.log.End()
	if role == Replica {
		up := n.upstream.status()
		up.Addr = id.Upstream
		st.Upstream = &up
	}
	return st
}
