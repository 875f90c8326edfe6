package node

import (
	"fmt"
	"path/filepath"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// snapshotIsForeign reports whether the newest snapshot holds other bytes than the directory's
// replication id stands for. A snapshot that names no id may hold anything.
func (n *Node) snapshotIsForeign(b *startState) bool {
	file := n.snaps.Newest()
	return !file.IsZero() && !b.History.Holds(string(file.ID), file.At)
}

// rebaseWithWarning is rebaseOnSnapshot for a directory that had another history.
func (n *Node) rebaseWithWarning(b *startState, why string) {
	was := b.History.ID()
	n.rebaseOnSnapshot(b)
	n.logger.Warn().Stringer("offset", n.snaps.Newest().At).Str("was_replid", string(was)).
		Str("snapshot_replid", string(n.snaps.Newest().ID)).Str("replid", string(b.History.ID())).
		Stringer("role", roleName(b.State)).Msg(why)
}

// rebaseOnSnapshot gives the directory a new replication id that starts at the newest snapshot's
// offset. Only role and term are kept. If the snapshot names an id, that becomes the previous id,
// valid up to the snapshot's offset.
func (n *Node) rebaseOnSnapshot(b *startState) {
	history, file := identity.NewHistory(identity.NewID()), n.snaps.Newest()
	if file.ID != "" {
		history = identity.NewHistory(file.ID).Begin(history.ID(), file.At)
	}
	b.State, b.fresh = identity.State{History: history, Upstream: b.Upstream, Term: b.Term}, true
}

// checkLogMeetsSnapshot checks that the log meets the newest snapshot, in offset and in history. A
// snapshot without a log is a restored backup, of this node or another.
func (n *Node) checkLogMeetsSnapshot(b *startState, keys *keyspace.Keyspace) error {
	at, start, end := n.snaps.Newest().At, n.log.Start(), n.log.End()
	began := n.log.Recovery().Created
	// A snapshot of offset 0 without an id, as redis-server writes it, belongs to the log that
	// began with it.
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
			"snapshot-OFFSET.rdb of this node between %d and %d back, or empty %s to begin anew",
			have, dir, start, start, end, n.c.Dir)
	}
	if at > end {
		return fmt.Errorf("open log: %s is of offset %d but the log in %s ends at offset %d; "+
			"put the missing log segments back, or remove %s: replicas then resync fully",
			n.snaps.Path(at), at, dir, end, dir)
	}
	return nil
}

// startFromBackup begins the log at a snapshot that came without a log, or at 0 without a snapshot.
// Foreign data get a new replication id here: under the old id a replica would request what follows
// an offset at which its upstream had other bytes. Data of the directory's own history are merely
// older, and decideReplID handles them as lost bytes.
func (n *Node) startFromBackup(b *startState) error {
	b.logGone = true
	if !b.fresh && (n.snapshotIsForeign(b) || n.snaps.Newest().IsZero()) {
		n.rebaseWithWarning(b, "the log is gone, and no snapshot is of what this directory held: "+
			"a new replication id begins; "+
			"a replica gets everything from its upstream")
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

// checkHistory rejects a foreign snapshot beside a log, because one of the two must be removed. A
// snapshot that names no id belongs to a log that begins at its offset.
func (n *Node) checkHistory(b *startState) error {
	file := n.snaps.Newest()
	if !n.snapshotIsForeign(b) || file.ID == "" && (n.log == nil || n.log.Start() == file.At) {
		return nil
	}
	whose := "names no replication id"
	if file.ID != "" {
		whose = "is of replication id " + string(file.ID)
	}
	dir := filepath.Join(n.c.Dir, logDir)
	return fmt.Errorf("open log: %s %s, and at its offset the log in %s, of replication id %s, "+
		"does not hold the same; "+
		"put a snapshot-OFFSET.rdb of this node in its place, or remove %s to continue from this "+
		"one: "+
		"replicas, and this node if it is one, then resync fully; "+
		"or, if the two are known to belong together, remove %s: log and data stay, "+
		"and the node begins as a new master",
		n.snaps.Path(file.At), whose, dir, b.History.ID(), dir,
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

// checkLog checks that the log is the one that the identity file names. Replicas hold other bytes
// under the directory's id than any other log has, an older copy of the same log included. If the
// data come from another log alone, they begin a new history. Mixed with a snapshot of this
// directory they would belong to no node, so the start fails.
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
			"a replica gets everything from its upstream")
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
		"put that one back, "+
		"or remove %s to continue from the newest snapshot under a new replication id; "+
		"or, if log and snapshot are known to belong together, remove %s: log and data stay, "+
		"and the node begins as a new master",
		dir, dir, filepath.Join(n.c.Dir, identity.FileName))
	if b.Upstream != "" {
		return &unusableError{err, n.snaps.Newest().At}
	}
	return err
}
