package replication

import (
	"context"
	"io"
	"net"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// BeforeSnapshots has f called before each snapshot is written, when its offset
// is fixed already. The node does not run yet.
func (n *Node) BeforeSnapshots(f func()) {
	n.SnapshotStore().SetEncodeForTest(func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error {
		f()
		return rdb.Write(w, a, k)
	})
}

// SnapshotsThrough has snapshots written through what wrap returns. The node does
// not run yet.
func (n *Node) SnapshotsThrough(wrap func(io.Writer) io.Writer) {
	n.SnapshotStore().SetEncodeForTest(func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error {
		return rdb.Write(wrap(w), a, k)
	})
}

// Serve runs a session on a connection that the node did not accept.
func (n *Node) Serve(ctx context.Context, conn net.Conn) {
	newSession(n, conn).serve(ctx)
	conn.Close()
}

// SnapshotEvery sets the bound after which one is due, for the stop alone to see.
func (n *Node) SnapshotEvery(bytes int64) {
	n.SnapshotStore().SetEveryForTest(bytes, time.Hour)
}

// TakeResync does what a full resync does when it has received everything.
func (n *Node) TakeResync(ctx context.Context, keys *keyspace.Keyspace, id identity.ID,
	at replog.Offset,
) error {
	return n.StepInstallDataset(ctx, keys, id, at)
}

// SnapshotDue makes one due, with no pause after one that failed.
func (n *Node) SnapshotDue() {
	n.SnapshotStore().SetEveryForTest(1, 0)
}

// HandOver does what FAILOVER does when the replica has everything.
func (n *Node) HandOver(ctx context.Context, to string) error {
	return n.StepHandOver(ctx, to)
}

// ExpireMost sets how many bytes of names one record deletes. The node does not run yet.
func (n *Node) ExpireMost(bytes int) { n.SetExpireMost(bytes) }

// Drop does what a full resync does first with drop-before-resync, in a term.
func (n *Node) Drop(ctx context.Context, t Term) error { return n.StepDropDataset(ctx, t) }

// ClientMemory is what the connections of clients hold beyond their own buffers.
func (n *Node) ClientMemory() int64 { return n.clients.memory.Load() }

// SlowReplies sets how long a reply may be sent, and keep so many bytes of replaced data, before
// its client is cut off. The node does not run yet.
func (n *Node) SlowReplies(after time.Duration, limit int64) {
	n.clients.slowAfter, n.clients.slowLimit = after, limit
}
