package node

import (
	"fmt"
	"net"

	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

// Offset is a position in the replication log. Package replication uses it without replog.
type Offset = replog.Offset

// PSync is one PSYNC or SYNC. An ID of more than 40 bytes matches no history, and is logged.
type PSync struct {
	ID     string
	Offset Offset // number of the first byte requested; the first byte of a log is number 1
	Legacy bool   // SYNC
}

// psync is one PSYNC or SYNC, and the node's decision about it. answer and with are set before the
// decision whether the request is admitted.
type psync struct {
	PSync
	answer    identity.Answer
	with      identity.ID // the id to name in the reply
	rejection string      // error reply; empty: admitted
}

// The rejections of PSYNC. A replica that gets NOMASTERLINK or LOADING sends PSYNC again after a
// second; after any other error it would send SYNC. docs/operations.md quotes these texts.
const (
	rejectForeign = "NOMASTERLINK this node holds nothing, and this replica's data have another " +
		"history; see the node's log for the remedy"
	rejectLoading = "LOADING Rowfall is loading the dataset: it is not complete yet"
	rejectFailing = "NOMASTERLINK Can't SYNC while failing over"
	rejectStopped = "NOMASTERLINK this node stopped following its upstream: %v"
	rejectAhead   = "NOMASTERLINK this node has not received these bytes from its upstream yet"
	rejectNoLink  = "NOMASTERLINK Can't SYNC while not connected with my master"
)

// admit decides p and, unless it rejects p, adds r to the replicas. Both happen under n.state, so
// that a change of identity disconnects every replica that was admitted before the change.
func (n *Node) admit(p *psync, r *replica) {
	n.state.Lock()
	defer n.state.Unlock()
	start, end := n.log.Start(), n.log.End()
	p.with = n.state.id.History.ID()
	p.answer = n.state.id.History.Answer(p.ID, p.Offset, start, end)
	if role, _ := roleOf(n.state.id); role == Master {
		p.rejection = n.admitAsMaster(p, r.addr, end)
	} else {
		p.rejection = n.admitAsReplica(p)
	}
	n.logger.Info().Str("replica", r.addr).
		Str("asked_replid", p.ID).Int64("asked_offset", int64(p.Offset)).
		Str("replid", string(p.with)).Stringer("first", start+1).Stringer("end", end).
		Bool("partial", p.answer == identity.Continue).Str("rejected", p.rejection).
		Msg("resync requested")
	if p.rejection == "" {
		n.replicas.add(r)
	}
}

// admitAsMaster returns the error reply of a master that rejects p; empty: p is admitted. The
// caller holds n.state.
func (n *Node) admitAsMaster(p *psync, addr string, end replog.Offset) (rejection string) {
	// Would a full resync replace the data of a replica by an empty keyspace?
	if n.isForeign(p) && n.Keyspace().Len() == 0 {
		n.adviseLost(addr, p)
		return rejectForeign
	}
	// Are the data incomplete, so that any full resync would lose keys? If the replica has more
	// bytes of another history than this node wrote, the operator gets advice, too.
	if !n.state.complete {
		if n.isForeign(p) && p.Offset-1 > end {
			n.adviseLost(addr, p)
		}
		return rejectLoading
	}
	// Is the role being handed over? The replica has to follow the new master.
	if n.failover.now() != failoverNone {
		return rejectFailing
	}
	// The request is admitted. p.answer decides how:
	switch p.answer {
	// Does the log hold the bytes after the requested offset, under the requested id? The replica
	// gets a partial resync.
	case identity.Continue:
	// Is the id unknown, is the id valid only up to an earlier offset, or are the bytes no longer
	// in the log? The replica gets a full resync.
	case identity.Full:
	// Has the replica bytes of the current id that the master does not have? The master lost them,
	// for instance by a restored volume, and writes other bytes at these offsets. The master's data
	// are authoritative: the replica gets a full resync.
	case identity.Ahead:
	}
	return ""
}

// admitAsReplica returns the error reply of a replica that rejects p, the PSYNC of a sub-replica;
// empty: p is admitted. The caller holds n.state.
func (n *Node) admitAsReplica(p *psync) (rejection string) {
	link, stopped := n.upstream.state()
	switch {
	// Are the data freed or unusable until a full resync from the upstream completes?
	case !n.state.complete:
		return rejectLoading
	// Is a hand-over to this node's new upstream still open, so that either may become master?
	case n.failover.now() != failoverNone:
		return rejectFailing
	// Did the node stop following? A sub-replica would look up to date and fall behind.
	case stopped != nil:
		return fmt.Sprintf(rejectStopped, stopped)
	// Has the sub-replica bytes that this node will still receive? It can continue afterwards.
	case p.answer == identity.Ahead:
		return rejectAhead
	// Does the sub-replica need a full resync, while this node may get one from its own upstream?
	case p.answer == identity.Full && link != LinkConnected:
		return rejectNoLink
	}
	// The log holds the bytes after the requested offset, or the node is connected and can send a
	// full resync.
	return ""
}

// isForeign reports whether a full resync would replace data that did not come from this node. A
// server that never followed a master requests byte 1 or less.
func (n *Node) isForeign(p *psync) bool {
	return p.answer == identity.Full && p.Offset > 1 && !n.state.id.History.Contains(p.ID)
}

// adviseLost logs and shows in Status.Advice, once per replica and offset, that the directory was
// probably lost, and how to restore the data. The caller holds n.state.
func (n *Node) adviseLost(addr string, p *psync) {
	host, port, _ := net.SplitHostPort(addr)
	advice := fmt.Sprintf("replica %s holds %d bytes of another history; this node has %d bytes: "+
		"if the directory %s was lost, restore it from the most advanced replica "+
		"(send it REPLICAOF NO ONE, send REPLICAOF %s %s here, send REPLICAOF NO ONE here when "+
		"that link is up, and make the replica follow this node again); "+
		"if its data are not needed, restart the replica without its dump file and attach it again",
		addr, p.Offset-1, n.log.End(), n.c.Dir, host, port)
	if n.state.advice != advice {
		n.state.advice = advice
		n.logger.Error().Msg(advice)
	}
}
