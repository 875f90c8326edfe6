package node

import (
	"context"
	"errors"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// errFreed is the error of promotions and snapshots on a node that freed its data for a full
// resync.
var errFreed = errors.New("the old data were freed for a full resync that is not complete yet; " +
	"wait until it is complete, or restart the node to load the old data")

// submitDataset runs installDataset between two units. begun reports that installDataset failed
// after it had changed something: then the appender has stopped.
func (a *appender) submitDataset(
	ctx context.Context, t Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset,
) (begun bool, err error) {
	err = a.do(ctx, func() error {
		err := a.installDataset(t, keys, newID, at)
		begun = a.err != nil
		return err
	})
	if begun {
		<-a.stopped
	}
	return begun, err
}

// installDataset replaces the data by those of a full resync. Every step can be repeated: a crash
// leaves the old data, or Pending in the identity file, from which the next start continues. The
// removal of the old files takes long, and the upstream's log waits meanwhile.
func (a *appender) installDataset(
	t Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset,
) error {
	if a.role != Replica || t != a.term {
		return ErrDemoted
	}
	a.n.identityMu.Lock()
	defer a.n.identityMu.Unlock()
	defer a.n.snaps.LockReplace()()
	id := a.n.identity()
	id.History = identity.NewHistory(newID)
	id.Pending, id.PendingAt = true, at
	id.Complete, id.CompleteAt = true, at
	id.Boot = identity.BootID()
	err := id.Save(a.n.c.FS, a.n.c.Dir)
	if disk.IsFull(err) {
		return err // the old file is still there
	}
	var sweep func() error
	if err == nil {
		sweep, err = a.swapDataset(id, keys, at)
	}
	if err == nil {
		// The identity file has Pending until the old snapshots are removed: otherwise a start
		// could load an old snapshot whose offset is higher.
		err = errors.Join(a.n.snaps.RemoveOthers(at), sweep())
	}
	if err == nil {
		err = a.n.identity().Save(a.n.c.FS, a.n.c.Dir)
	}
	if err != nil {
		// The file may have Pending, from which the next start continues.
		a.n.state.freezeIdentity()
		return a.fail(err)
	}
	return nil
}

// swapDataset installs keys, log offset and identity in one step under n.state, so that PSYNC never
// sees new bytes under the old id. The returned sweep deletes the old log files.
func (a *appender) swapDataset(
	id identity.State, keys *keyspace.Keyspace, at replog.Offset,
) (sweep func() error, err error) {
	if err := a.n.snaps.InstallResync(at, keys.Memory().Live); err != nil {
		return nil, err
	}
	a.n.state.Lock()
	defer a.n.state.Unlock()
	a.n.replicas.disconnectAll("the upstream sent a full resync")
	if sweep, err = a.log.BeginReset(at); err != nil {
		return nil, err
	}
	if id.Log, err = a.n.logName(); err != nil {
		return nil, err
	}
	id.Pending, id.PendingAt = false, 0
	a.keys = keys
	a.n.keys.Store(keys)
	a.n.state.dataReplacedLocked(id)
	a.missing = nil
	a.written.Store(int64(at))
	a.ackRequested.Store(0)
	a.n.quorum.reset()
	a.n.snaps.DataReplaced()
	a.published.Notify()
	return sweep, nil
}

// freeDataset frees the data before a full resync loads others. The directory keeps the old data: a
// restart before the end of the resync loads them.
func (a *appender) freeDataset(t Term) error {
	if a.role != Replica || t != a.term {
		return ErrDemoted
	}
	a.n.setCompleteVolatile(false)
	a.missing = errFreed
	a.keys = a.n.newKeyspace()
	a.n.keys.Store(a.keys)
	return nil
}
