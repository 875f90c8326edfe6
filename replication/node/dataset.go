package node

import (
	"errors"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// errFreed is why a node that freed its data for a full resync rejects promotions and snapshots.
var errFreed = errors.New("the old data were freed for a full resync that is not " +
	"complete yet; let it complete, or restart the node to have them again")

// installDataset replaces the data by those of a full resync. Every step can be repeated: a crash
// leaves the old data, or Pending in the identity file, from which the next start continues. The
// removal of the old files takes long, and only the link to the upstream waits for it.
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
		// While the identity has Pending: else a start could load the old snapshot, if its
		// offset is the higher one.
		err = errors.Join(a.n.snaps.RemoveOthers(at), sweep())
	}
	if err == nil {
		err = a.n.identity().Save(a.n.c.FS, a.n.c.Dir)
	}
	if err != nil {
		a.n.state.Lock()
		a.n.state.identityFrozen = true // the file may hold Pending, which the next start obeys
		a.n.state.Unlock()
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
	a.n.state.id = id
	a.n.state.complete = true
	a.missing, a.n.state.unusable, a.n.state.advice = nil, nil, ""
	a.written.Store(int64(at))
	a.asked.Store(0)
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
