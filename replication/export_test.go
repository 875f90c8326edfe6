package replication

import (
	"io"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

// BeforeSnapshots has f called before each snapshot is written, when its offset
// is fixed already. The node does not run yet.
func (n *Node) BeforeSnapshots(f func()) {
	n.snaps.encode = func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error {
		f()
		return rdb.Write(w, a, k)
	}
}

// SnapshotsThrough has snapshots written through what wrap returns. The node does
// not run yet.
func (n *Node) SnapshotsThrough(wrap func(io.Writer) io.Writer) {
	n.snaps.encode = func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error { return rdb.Write(wrap(w), a, k) }
}
