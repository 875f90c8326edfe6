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

// errFailingOver is why a node whose role is being handed over keeps its data.
var errFailingOver = errors.New("the role of the node is being handed over; " +
	"try again when FAILOVER has ended")

// dataset is what takes the place of the node's data: the data of a full resync from the upstream,
// or of a replacement.
type dataset struct {
	keys *keyspace.Keyspace
	id   identity.ID   // the replication id of its history
	at   replog.Offset // the offset in that history at which the data are
	role Role          // role and term in which the data may be installed
	term Term
	why  string // for the log: why the replicas are disconnected
}

// installDataset writes a dataset to disk and replaces the old data. If the volume is full, it
// trims log that a restart does not need, and writes the snapshot again. If it fails before the old
// data are replaced, it removes the file. If it fails later, the node stops, and the file stays,
// because the next start may load it. Nobody may change d.keys meanwhile.
func (n *Node) installDataset(ctx context.Context, d *dataset) error {
	if err := n.appender.stopErr(); err != nil {
		return err
	}
	write := func() error {
		snapshot := d.keys.Snapshot()
		defer snapshot.Close()
		return n.snaps.WriteResync(ctx, snapshot, d.id, d.at)
	}
	err := write()
	if disk.IsFull(err) && n.appender.trimUnneededLog(ctx) {
		err = write()
	}
	begun := false
	if err == nil {
		begun, err = n.appender.submitDataset(ctx, d)
	}
	if err == nil {
		return nil
	}
	if !begun {
		n.snaps.RemoveResync() //nolint:errcheck // err, which is older, is the one to report
	}
	return err
}

// trimUnneededLog trims all log that a restart does not need, and reports whether there was any.
// Only replicas need it, and they resync fully anyway when other data replace the old data.
func (a *appender) trimUnneededLog(ctx context.Context) (trimmed bool) {
	err := a.do(ctx, func() error {
		for a.room.trimOldest() {
			trimmed = true
		}
		return nil
	})
	return err == nil && trimmed
}

// submitDataset runs installDataset between two units. begun reports that installDataset failed
// after it had changed something: then the appender has stopped.
func (a *appender) submitDataset(ctx context.Context, d *dataset) (begun bool, err error) {
	err = a.do(ctx, func() error {
		err := a.installDataset(d)
		begun = a.err != nil
		return err
	})
	if begun {
		<-a.stopped
	}
	return begun, err
}

// installDataset replaces the data. Every step can be repeated: a crash leaves the old data, or
// Pending in the identity file, from which the next start continues. The removal of the old files
// takes long, and whatever writes to the node waits meanwhile.
func (a *appender) installDataset(d *dataset) error {
	if a.role != d.role || a.term != d.term {
		return ErrDemoted
	}
	// Is the role being handed over? The node that takes it over has the old data.
	if d.role == Master && (a.paused != nil || a.n.failover.now() != failoverNone) {
		return errFailingOver
	}
	a.n.identityMu.Lock()
	defer a.n.identityMu.Unlock()
	defer a.n.snaps.LockReplace()()
	id := a.n.identity()
	id.History = identity.NewHistory(d.id)
	id.Pending, id.PendingAt = true, d.at
	id.Complete, id.CompleteAt = true, d.at
	id.Boot = identity.BootID()
	err := id.Save(a.n.c.FS, a.n.c.Dir)
	if disk.IsFull(err) {
		return err // the old file is still there
	}
	var sweep func() error
	if err == nil {
		sweep, err = a.swapDataset(id, d)
	}
	if err == nil {
		// The identity file has Pending until the old snapshots are removed: otherwise a start
		// could load an old snapshot whose offset is higher.
		err = errors.Join(a.n.snaps.RemoveOthers(d.at), sweep())
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
func (a *appender) swapDataset(id identity.State, d *dataset) (sweep func() error, err error) {
	if err := a.n.snaps.InstallResync(d.at, d.keys.Memory().Live); err != nil {
		return nil, err
	}
	a.n.state.Lock()
	defer a.n.state.Unlock()
	a.n.replicas.disconnectAll(d.why)
	if sweep, err = a.log.BeginReset(d.at); err != nil {
		return nil, err
	}
	if id.Log, err = a.n.logName(); err != nil {
		return nil, err
	}
	id.Pending, id.PendingAt = false, 0
	a.keys = d.keys
	a.n.keys.Store(d.keys)
	a.n.state.dataReplacedLocked(id)
	a.missing = nil
	a.needSelect = true // a replica that loads the snapshot has selected no database
	a.written.Store(int64(d.at))
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
