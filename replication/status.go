package replication

import (
	"time"

	"rowfall/replication/progress"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// Status is a node at one moment: flat, as INFO and a metric each read one of them. Role,
// ids, offsets, upstream and replicas are of one moment; counters and sizes may be later.
type Status struct {
	Addr       string // where it listens
	Role       Role
	Term       Term
	Complete   bool          // PSYNC is answered
	Advice     string        // what to do about a directory that seems lost, since replicas hold what it never wrote; empty: it does not
	ID         string        // the replication id, 40 hex digits
	PreviousID string        // the id before it, empty: none
	PreviousTo replog.Offset // the last offset that PreviousID is good for
	Offset     replog.Offset // bytes of stream so far
	LogStart   replog.Offset // bytes of stream before the first one that a partial resync can get
	Keys       int           // as DBSIZE counts them
	HiddenKeys int           // those with Config.HiddenPrefix, not in Keys
	Clients    int           // connections, replicas included
	Memory     MemoryStatus
	Snapshot   SnapshotStatus
	Upstream   *UpstreamStatus // nil on a master
	Replicas   []ReplicaStatus

	Held         string // why Apply waits or is slowed, empty: it does not
	Failover     string // no-failover, waiting-for-sync or failover-in-progress
	GoodReplicas int    // those near enough for Config.MinReplicas

	FullSyncs       int64 // answered with a full resync
	PartialSyncs    int64 // answered with a partial resync
	PartialsRefused int64 // asked for a partial resync and got a full one
}

// MemoryStatus is what keys and values take, in bytes, as of the last unit. The
// index, some 11 bytes a key, is not in it.
type MemoryStatus struct {
	Live    int64 // in use
	Garbage int64 // replaced, but kept: to be used again or for readers and a snapshot
	Mapped  int64 // all that was taken from the system for them
}

// SnapshotStatus describes the newest snapshot file and the one being written.
type SnapshotStatus = snapshots.Status

// UpstreamStatus is the link to the node's upstream.
type UpstreamStatus struct {
	Addr   string
	State  LinkState
	LastIO time.Time // when bytes last came; zero: never
	Since  time.Time // when State began
	Down   time.Time // when the link was last lost; zero: never

	Received int64 // bytes of the snapshot that is being received
	Total    int64 // its size; -1: not told

	Err     string // why the last link ended or the node stopped following, empty: it did not
	Stopped string // why it stopped following for good; replicas get it as NOMASTERLINK until a link is up again; empty: it did not
}

// ReplicaStatus is one replica that follows the node.
type ReplicaStatus struct {
	Addr    string // as it announces itself, else its peer's host and listening port
	State   ReplicaState
	Sent    replog.Offset // bytes of stream given to its socket, those on their way included; never less than Acked
	Acked   replog.Offset // the last offset it said it has applied
	Lag     time.Duration // since its last acknowledgement
	Version string        // as announced, empty if it did not
}

// LinkState is where the link to the upstream stands.
//
//	Idle -> Connecting -> Handshake -> (Transfer ->) Connected
//	any of them -> Idle (wait, try again) or Stopped (an operator must act)
type LinkState uint8

// The states of the upstream link.
const (
	LinkIdle       LinkState = iota // waiting to connect
	LinkConnecting                  // dialling
	LinkHandshake                   // talking up to the answer to PSYNC
	LinkTransfer                    // receiving and loading a snapshot
	LinkConnected                   // streaming
	LinkStopped                     // what the upstream sent was not understood; the node follows again when told to
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
