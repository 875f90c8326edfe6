package sink

import "rowfall/replication"

// ReplicaOffsets are the offsets of a node and of its replicas in the node's replication log.
type ReplicaOffsets struct {
	// End is the end of the log. It is never before the end at an earlier call, unless the node has
	// begun a new history.
	End int64
	// Slowest is the offset that the slowest replica has acknowledged; End without replicas.
	// Replicas that are in a full resync do not count.
	Slowest int64
}

// ReplicaOffsets returns the present offsets. Any goroutine may call it.
func (n *core) ReplicaOffsets() ReplicaOffsets {
	status := n.node.Status()
	o := ReplicaOffsets{End: int64(status.Offset), Slowest: int64(status.Offset)}
	for _, r := range status.Replicas {
		if r.State == replication.ReplicaOnline && r.Acked > 0 {
			o.Slowest = min(o.Slowest, int64(r.Acked))
		}
	}
	return o
}
