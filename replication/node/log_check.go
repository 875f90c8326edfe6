package node

import (
	"fmt"
	"path/filepath"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// snapshotIsForeign reports whether the newest snapshot is not of the history of the directory's
// replication id. A snapshot without an id may be of any history.
func (n *Node) snapshotIsForeign(b *startState) bool {
	file := n.snaps.Newest()
	return !file.IsZero() && !b.History.Holds(string(file.ID), file.At)
}

// rebaseWithWarning calls rebaseOnSnapshot for a directory that had another history, and logs why.
func (n *Node) rebaseWithWarning(b *startState, why string) {
	was := b.History.ID()
	n.rebaseOnSnapshot(b)
	n.logger.Warn().Stringer("offset", n.snaps.Newest().At).Str("was_replid", string(was)).
		Str("snapshot_replid", string(n.snaps.Newest().ID)).Str("replid", string(b.History.ID())).
		Stringer("role", roleName(b.State)).Msg(why)
}

// rebaseOnSnapshot gives the directory a new replication id that starts at the newest snapshot's
// offset. Only role and term are kept. If the snapshot has an id, it becomes the previous id, valid
// up to the snapshot's offset.
func (n *Node) rebaseOnSnapshot(b *startState) {
	history, file := identity.NewHistory(identity.NewID()), n.snaps.Newest()
	if file.ID != "" {
		history = identity.NewHistory(file.ID).Begin(history.ID(), file.At)
	}
	b.State, b.fresh = identity.State{History: history, Upstream: b.Upstream, Term: b.Term}, true
}

// checkLogMeetsSnapshot checks that the log continues the newest snapshot, in offset and in
// history. A snapshot without a log is a restored backup of this node or of another one.
func (n *Node) checkLogMeetsSnapshot(b *startState, keys *keyspace.Keyspace) error {
	at, start, end := n.snaps.Newest().At, n.log.Start(), n.log.End()
	began := n.log.Recovery().Created
	// A snapshot of offset 0 without an id, such as redis-server writes, belongs to the log that
	// began with the snapshot.
	known := !began && at.IsZero() && n.snaps.Newest().ID == ""
	gone := began && !b.fresh && !b.repaired
	if gone || end.IsZero() && (!at.IsZero() || n.snapshotIsForeign(b) && !known) {
		return n.startFromBackup(b)
	}
	if err := n.checkHistory(b); err != nil {
		return err
	}
	if err := n.checkLog(b, keys); err != nil {
		return err
	}
	if err := n.checkOffsets(); err != nil {
		if b.Upstream != "" {
			err = &unusableError{err, at}
		}
		return err
	}
	if err := n.log.Retain(max(at, start)); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	return nil
}

// checkOffsets checks log start <= snapshot <= log end.
func (n *Node) checkOffsets() error {
	dir, at := filepath.Join(n.c.Dir, logDir), n.snaps.Newest().At
	start, end := n.log.Start(), n.log.End()
	if at < start {
		have := "there is no snapshot"
		if !n.snaps.Newest().IsZero() {
			have = fmt.Sprintf("%s ends at offset %d", n.snaps.Path(at), at)
		}
		return fmt.Errorf("open log: %s but the log in %s begins after offset %d; put a "+
			"snapshot-OFFSET.rdb of this node between %d and %d back, or empty %s to start "+
			"without data",
			have, dir, start, start, end, n.c.Dir)
	}
	if at > end {
		return fmt.Errorf("open log: %s has offset %d, but the log in %s ends at offset %d; "+
			"put the missing log segments back, or remove %s: replicas then get a full resync",
			n.snaps.Path(at), at, dir, end, dir)
	}
	return nil
}

// startFromBackup begins the log at the newest snapshot, or at offset 0 if there is no snapshot.
// Data of another history get a new replication id here: under the old id a replica would request
// the log after an offset at which its upstream has other bytes. Data of the directory's own
// history are only older, and decideReplID handles the newer bytes as lost.
func (n *Node) startFromBackup(b *startState) error {
	b.logGone = true
	if !b.fresh && (n.snapshotIsForeign(b) || n.snaps.Newest().IsZero()) {
		n.rebaseWithWarning(b, "the log is missing, and there is no snapshot of this directory's "+
			"history: a new replication id begins; a replica gets a full resync from its upstream")
	}
	if !b.fresh && n.snaps.Newest().At.IsZero() {
		// an empty node must not replace the data of its replicas
		b.Complete, b.CompleteAt = false, 0
	}
	if err := n.markUnclean(b.State); err != nil {
		return err
	}
	if err := n.log.Reset(n.snaps.Newest().At); err != nil {
		return fmt.Errorf("begin log at snapshot: %w", err)
	}
	return nil
}

// checkHistory rejects a snapshot and a log of different histories, because one of the two must be
// removed. A snapshot without an id belongs to a log that begins at the snapshot's offset.
func (n *Node) checkHistory(b *startState) error {
	file := n.snaps.Newest()
	if !n.snapshotIsForeign(b) || file.ID == "" && (n.log == nil || n.log.Start() == file.At) {
		return nil
	}
	id := "has no replication id"
	if file.ID != "" {
		id = "has replication id " + string(file.ID)
	}
	dir := filepath.Join(n.c.Dir, logDir)
	return fmt.Errorf("open log: %s %s, and the log in %s has replication id %s, which has other "+
		"bytes at this offset; "+
		"replace the snapshot by a snapshot-OFFSET.rdb of this node; "+
		"or remove %s to continue from the snapshot: replicas, and this node if it is a replica, "+
		"then get a full resync; "+
		"or, if you are sure that the two belong together, remove %s: log and data stay, "+
		"and the node becomes a master with a new replication id",
		n.snaps.Path(file.At), id, dir, b.History.ID(), dir,
		filepath.Join(n.c.Dir, identity.FileName))
}

// logName identifies the open log in the identity file.
func (n *Node) logName() (identity.LogName, error) {
	file, err := disk.IDAt(n.c.FS, filepath.Join(n.c.Dir, logDir, replog.SyncedFile))
	if err != nil {
		return identity.LogName{}, fmt.Errorf("identify log: %w", err)
	}
	return identity.LogName{Generation: n.log.Generation(), File: file}, nil
}

// checkLog checks that the log is the one that the identity file names. Under the directory's id
// replicas hold other bytes than any other log has, an older copy of the same log included. If all
// data come from another log, they get a new replication id. If there is also a snapshot of this
// directory, the start fails: the data of the two together never existed.
func (n *Node) checkLog(b *startState, keys *keyspace.Keyspace) error {
	name, err := n.logName()
	if err != nil {
		return err
	}
	begunByRepair := b.repaired && n.log.Recovery().Created
	all, _, _ := keys.Counts()
	// all data come from the log
	alone := all == 0 && n.snaps.Newest().At.IsZero() && n.log.Start().IsZero()
	switch {
	case b.fresh, !begunByRepair && b.HasLog(name, n.log.End()):
		return nil
	case begunByRepair && n.snaps.Newest().IsZero():
		n.rebaseWithWarning(b, "nothing of the damaged log survived: a new replication id begins; "+
			"a replica gets a full resync from its upstream")
		return nil
	case begunByRepair:
		return nil
	case alone && b.Upstream == "":
		n.rebaseWithWarning(b,
			"the log is not the one that this directory wrote: a new replication id begins")
		return nil
	}
	dir := filepath.Join(n.c.Dir, logDir)
	err = fmt.Errorf("open log: the log in %s is not the one that this directory wrote; "+
		"put that log back; "+
		"or remove %s to continue from the newest snapshot under a new replication id; "+
		"or, if you are sure that log and snapshot belong together, remove %s: log and data stay, "+
		"and the node becomes a master with a new replication id",
		dir, dir, filepath.Join(n.c.Dir, identity.FileName))
	if b.Upstream != "" {
		return &unusableError{err, n.snaps.Newest().At}
	}
	return err
}
