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

// BeforeSnapshots makes the node call f before it writes each snapshot, when the snapshot's offset
// is fixed already. Call it before Run.
func (n *Node) BeforeSnapshots(f func()) {
	store := n.Testing().SnapshotStore()
	store.SetEncodeForTest(func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error {
		f()
		return rdb.Write(w, a, k)
	})
}

// SnapshotsThrough makes the node write snapshots through the writer that wrap returns. Call it
// before Run.
func (n *Node) SnapshotsThrough(wrap func(io.Writer) io.Writer) {
	store := n.Testing().SnapshotStore()
	store.SetEncodeForTest(func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error {
		return rdb.Write(wrap(w), a, k)
	})
}

// Serve runs a session on a connection that the node did not accept itself.
func (n *Node) Serve(ctx context.Context, conn net.Conn) {
	newSession(n, conn).serve(ctx)
	conn.Close()
}

// SnapshotEvery sets after how many bytes of log a snapshot is due. Only the stop checks it.
func (n *Node) SnapshotEvery(bytes int64) {
	n.Testing().SnapshotStore().SetEveryForTest(bytes, time.Hour)
}

// TakeResync installs a data set, as a full resync does when it has received all data.
func (n *Node) TakeResync(ctx context.Context, keys *keyspace.Keyspace, id identity.ID,
	at replog.Offset,
) error {
	return n.Testing().InstallDataset(ctx, keys, id, at)
}

// SnapshotDue makes a snapshot due, without a pause after a failed snapshot.
func (n *Node) SnapshotDue() {
	n.Testing().SnapshotStore().SetEveryForTest(1, 0)
}

// HandOver gives the role to another address, as FAILOVER does when the replica has all data.
func (n *Node) HandOver(ctx context.Context, to string) error {
	return n.Testing().HandOver(ctx, to)
}

// ExpireMost sets how many bytes of key names one record deletes. Call it before Run.
func (n *Node) ExpireMost(bytes int) { n.Testing().SetExpireMost(bytes) }

// Drop frees the data in term t, as a full resync does first with Config.DropBeforeResync.
func (n *Node) Drop(ctx context.Context, t Term) error { return n.Testing().FreeDataset(ctx, t) }

// ClientMemory returns the bytes that clients' connections use beyond their fixed buffers.
func (n *Node) ClientMemory() int64 { return n.clients.memory.Load() }

// SlowReplies sets the limits for a reply that is read slowly: the client is cut off when the reply
// takes longer than after and pins more than limit bytes of replaced data. Call it before Run.
func (n *Node) SlowReplies(after time.Duration, limit int64) {
	n.clients.slowAfter, n.clients.slowLimit = after, limit
}
