package node

import (
	"context"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// Testing is a Node with methods that only the tests of package replication call. These tests cut
// the power at each operation of one step of a change, fail the writing of a snapshot, and use
// small limits. They are not in package node, because they send commands through sessions; Go
// gives them no other access to the unexported parts of this package.
type Testing struct{ *Node }

// Testing returns the methods for tests.
func (n *Node) Testing() Testing { return Testing{n} }

// InstallDataset replaces the data as a full resync does when it has received everything. The node
// must run as a replica.
func (n Testing) InstallDataset(
	ctx context.Context, keys *keyspace.Keyspace, id identity.ID, at replog.Offset,
) error {
	_, term := n.Role()
	return n.installDataset(ctx, resyncDataset(term, keys, id, at))
}

// FreeDataset frees the data as a full resync does first with Config.DropBeforeResync. It returns
// ErrDemoted if t is not the current term.
func (n Testing) FreeDataset(ctx context.Context, t Term) error {
	return n.upstream.freeDataset(ctx, t)
}

// HandOver hands the role over as FAILOVER does when the replica has everything. It returns the
// error of ctx if ctx has ended.
func (n Testing) HandOver(ctx context.Context, to string) error {
	return n.appender.do(context.Background(), func() error {
		return n.appender.demoteTo(ctx.Done(), to)
	})
}

// SetExpireMost sets how many bytes of key names one record deletes. Call it before Run.
func (n Testing) SetExpireMost(bytes int) { n.appender.expireMost = bytes }

// SnapshotStore returns the store of snapshot files, to replace its encoder or its limits before
// Run.
func (n Testing) SnapshotStore() *snapshots.Store { return n.snaps }
