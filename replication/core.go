package replication

import "rowfall/replication/node"

// The types of package node that a node's owner uses, under the names of this package.
type (
	// Config configures a node. Dir and Listen are required.
	Config = node.Config
	// Core is a node without its clients' side. A node's replacement is one.
	Core = node.Node
	// Handler executes one extra command.
	Handler = node.Handler

	// Role is the replication role of a node.
	Role = node.Role
	// Term counts the role changes of a directory.
	Term = node.Term

	// Status describes a node, for INFO and metrics.
	Status = node.Status
	// MemoryStatus is the memory of keys and values in bytes.
	MemoryStatus = node.MemoryStatus
	// SnapshotStatus describes the newest snapshot file and the one being written.
	SnapshotStatus = node.SnapshotStatus
	// UpstreamStatus describes the link to the node's upstream.
	UpstreamStatus = node.UpstreamStatus
	// LinkState is the state of the link to the upstream.
	LinkState = node.LinkState
	// ReplicaStatus describes one replica of the node.
	ReplicaStatus = node.ReplicaStatus
	// ReplicaState is the phase of a replica's resync.
	ReplicaState = node.ReplicaState
)

// The roles of a node.
const (
	Master  = node.Master
	Replica = node.Replica
)

// The states of the upstream link.
const (
	LinkIdle       = node.LinkIdle
	LinkConnecting = node.LinkConnecting
	LinkHandshake  = node.LinkHandshake
	LinkTransfer   = node.LinkTransfer
	LinkConnected  = node.LinkConnected
	LinkStopped    = node.LinkStopped
)

// The states of a replica.
const (
	ReplicaWaiting = node.ReplicaWaiting
	ReplicaSending = node.ReplicaSending
	ReplicaLoading = node.ReplicaLoading
	ReplicaOnline  = node.ReplicaOnline
)

var (
	// ErrDemoted is returned by Apply for a unit with a term other than the current one, and while
	// the node is a replica.
	ErrDemoted = node.ErrDemoted
	// ErrClosed is returned when the node is closing or closed.
	ErrClosed = node.ErrClosed
)

// CheckAddr returns an error if addr cannot be an upstream's address.
func CheckAddr(addr string) error { return node.CheckAddr(addr) }

// CheckUpstream returns an error if addr cannot be the upstream of a node that listens on listen.
func CheckUpstream(listen, addr string) error { return node.CheckUpstream(listen, addr) }

// CheckHostPort returns an error if addr is not the text of a host:port.
func CheckHostPort(addr string) error { return node.CheckHostPort(addr) }
