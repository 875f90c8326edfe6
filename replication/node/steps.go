package node

import (
	"context"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// The methods of this file execute one step of a change alone, without the peer that causes it.
// Only tests call them: those of package replication cut the power at each operation of such a
// step.

// StepInstallDataset replaces the data as a full resync does when it has received everything. It
// needs a replica that runs.
func (n *Node) StepInstallDataset(
	ctx context.Context, keys *keyspace.Keyspace, id identity.ID, at replog.Offset,
) error {
	_, term := n.Role()
	return n.upstream.installSnapshot(ctx, term, keys, id, at)
}

// StepDropDataset frees the data as a full resync does first with Config.DropBeforeResync. It
// returns ErrDemoted if t is not the current term.
func (n *Node) StepDropDataset(ctx context.Context, t Term) error {
	return n.upstream.dropDataset(ctx, t)
}

// StepHandOver gives the role away as FAILOVER does when the replica has everything. It returns the
// error of ctx if ctx has ended.
func (n *Node) StepHandOver(ctx context.Context, to string) error {
	return n.appender.do(context.Background(), func() error {
		return n.appender.demoteTo(ctx.Done(), to)
	})
}

// SetExpireMost sets how many bytes of key names one record deletes. Call it before Run.
func (n *Node) SetExpireMost(bytes int) { n.appender.expireMost = bytes }

// SnapshotStore returns the store of snapshot files, to replace its encoder or its limits before
// Run.
func (n *Node) SnapshotStore() *snapshots.Store { return n.snaps }
