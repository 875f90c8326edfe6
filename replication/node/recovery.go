package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

const logDir = "log"

// startState is the identity with which a start continues, and what the start has found.
type startState struct {
	identity.State
	fresh    bool // no other server holds bytes under the id
	logGone  bool // there was no log: a backup was restored, or the log was removed
	repaired bool // the damaged part of the log was removed
}

// recover loads the newest snapshot and replays the log after it. Then, before the first append or
// PSYNC, it decides under which replication id the node continues.
func (n *Node) recover() error {
	id, err := identity.Load(n.c.FS, n.c.Dir)
	fresh := identity.IsFresh(err)
	if fresh {
		history := identity.NewHistory(identity.NewID())
		id, err = identity.State{History: history, Upstream: n.c.ReplicaOf}, nil
	}
	if err != nil {
		return err
	}
	if asked := n.c.ReplicaOf; asked != "" && asked != id.Upstream {
		n.logger.Warn().Str("configured_upstream", asked).Str("upstream", id.Upstream).
			Msg("the role that is saved in the directory overrides the configured upstream: " +
				"send REPLICAOF host port to follow another one, or start with an empty directory")
	}
	if id.Pending {
		if id, err = n.finishResync(id); err != nil {
			return err
		}
	}
	if err := n.removeUnfinished(); err != nil {
		return err
	}
	if err := n.replacement.removeInstalled(id); err != nil {
		return err
	}
	b := startState{State: id, fresh: fresh}
	keys, err := n.loadDataset(&b)
	var unusable *unusableError
	if errors.As(err, &unusable) && b.Upstream != "" {
		keys, err = n.startEmpty(unusable)
	}
	if err != nil {
		return err
	}
	n.keys.Store(keys)
	return n.decideReplID(b)
}

// removeUnfinished removes files that an interrupted run left. A pending resync was finished
// before.
func (n *Node) removeUnfinished() error {
	names := append(snapshots.UnfinishedNames(), disk.Temporary(identity.FileName),
		disk.Temporary(settingsFile), disk.Temporary(failoverFile))
	for _, name := range names {
		err := n.c.FS.Remove(filepath.Join(n.c.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished file: %w", err)
		}
	}
	return nil
}

// finishResync completes an installDataset that a crash interrupted.
func (n *Node) finishResync(id identity.State) (identity.State, error) {
	if err := n.snaps.InstallResync(id.PendingAt, 0); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	if err := n.snaps.RemoveOthers(id.PendingAt); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	l, err := replog.Create(filepath.Join(n.c.Dir, logDir), id.PendingAt, n.c.Log)
	if err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	if err := l.Close(); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	id.Pending, id.PendingAt, id.Log = false, 0, identity.LogName{}
	return id, id.Save(n.c.FS, n.c.Dir)
}

// loadDataset loads the newest snapshot and the log after it. If durable bytes of the log are
// damaged, loadDataset keeps the log before the damage:
//
//   - A replica gets the rest again from its upstream, under the same id.
//   - A master begins a new id; the old id stays valid up to the end of the kept log. The position
//     of the source is a key in the data, so the writer reads its source again from there.
//     Replicas that are ahead get a full resync.
//
// If no data survived, it returns an error, and an operator must decide.
func (n *Node) loadDataset(b *startState) (*keyspace.Keyspace, error) {
	keys, err := n.loadWith(b, replog.Open)
	var bad *replog.CorruptError
	if !errors.As(err, &bad) {
		return keys, err
	}
	if n.log != nil {
		if err := n.log.Close(); err != nil {
			return nil, fmt.Errorf("close damaged log: %w", err)
		}
		n.log = nil
	}
	if foreign := n.checkHistory(b); foreign != nil {
		return nil, fmt.Errorf("%w; %w", foreign, err)
	}
	snapshot := n.snaps.Newest().At
	if snapshot.IsZero() && b.Upstream == "" && n.snaps.Newest().IsZero() {
		return nil, fmt.Errorf("%w, or, because there is no snapshot to start from, restore the "+
			"data from the most advanced replica (promote it, empty %s, start this node with it "+
			"as the upstream, and promote this node when it has everything)", err, n.c.Dir)
	}
	if err := n.markUnclean(b.State); err != nil {
		return nil, err
	}
	b.repaired = true
	keys, err = n.loadWith(b, func(dir string, c replog.Config) (*replog.Log, error) {
		return replog.Repair(dir, snapshot, c)
	})
	if err != nil {
		return nil, fmt.Errorf("%w; repair log: %w", bad, err)
	}
	n.logger.Error().Err(bad).Stringer("snapshot", snapshot).
		Stringer("survived_to", n.log.End()).Stringer("role", roleName(b.State)).
		Msg("the log was damaged, and the bytes after the damage are lost on this node: " +
			"a replica gets them again from its upstream; a master's writer must read its source " +
			"again from the position in the data")
	return keys, nil
}

// loadWith loads the newest snapshot, opens the log with open and replays it.
func (n *Node) loadWith(
	b *startState, open func(dir string, c replog.Config) (*replog.Log, error),
) (*keyspace.Keyspace, error) {
	keys, err := n.loadSnapshot()
	if err != nil {
		return nil, err
	}
	if b.fresh {
		n.rebaseOnSnapshot(b)
	}
	if n.log, err = open(filepath.Join(n.c.Dir, logDir), n.c.Log); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := n.checkLogMeetsSnapshot(b, keys); err != nil {
		return nil, err
	}
	return keys, n.replay(keys)
}

// loadSnapshot loads the newest snapshot that can be read. It returns an *unusableError if
// every file is damaged.
func (n *Node) loadSnapshot() (*keyspace.Keyspace, error) {
	keys, err := n.snaps.Load(n.newKeyspace)
	var unreadable *snapshots.UnreadableError
	if errors.As(err, &unreadable) {
		err = &unusableError{err, unreadable.Newest}
	}
	return keys, err
}

// tidyEvery is the number of replayed units after which the keyspace releases memory, as it does
// once a second when the node runs.
const tidyEvery = 1024

// replay applies the log after the snapshot. Keys that expired meanwhile stay until their DEL in
// the log.
func (n *Node) replay(keys *keyspace.Keyspace) error {
	units := 0
	err := n.log.Replay(n.snaps.Newest().At, func(r replog.Record) error {
		if r.Kind != replog.Unit && r.Kind != replog.Expiry {
			return nil
		}
		if err := keys.Stage(r.Payload); err != nil {
			return fmt.Errorf("apply %s at offset %d: %w", r.Kind, r.Start, err)
		}
		keys.Publish()
		if units++; units%tidyEvery == 0 {
			keys.Tidy()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay log %s: %w", filepath.Join(n.c.Dir, logDir), err)
	}
	return nil
}

// decideReplID begins a new replication id if replicas may hold bytes that this directory lost, and
// removes the clean mark.
func (n *Node) decideReplID(b startState) error {
	id, boot, end := b.State, identity.BootID(), n.log.End()
	lost := b.logGone || n.log.Recovery().Lost || id.Lost(boot, end)
	if lost && !b.fresh && id.Upstream == "" {
		was := id.History.ID()
		id.History = id.History.Begin(identity.NewID(), end)
		n.logger.Warn().Stringer("offset", end).Str("was_replid", string(was)).
			Str("replid", string(id.History.ID())).Bool("copied", id.Copied).
			Msg("the last stop may have lost written bytes, or the directory is a copy: " +
				"a new replication id begins")
	}
	// The open of the log synced all bytes of the last run, whatever its fsync policy was.
	id.Clean, id.CleanEnd, id.Copied = false, 0, false
	id.Boot, id.Durable = boot, n.c.Log.Fsync == replog.Always
	// A replica without data keeps the names of its log and snapshot, so that the next start
	// can load them if they were repaired.
	if n.state.unusable == nil {
		if id.CompleteAt > end { // the bytes that completed the data are lost
			id.Complete, id.CompleteAt = false, 0
		}
		var err error
		if id.Log, err = n.logName(); err != nil {
			return err
		}
	}
	if err := id.Save(n.c.FS, n.c.Dir); err != nil {
		return err
	}
	n.state.id, n.state.complete = id, id.Complete && n.state.unusable == nil
	return nil
}

// markUnclean clears the boot id and the clean mark in the identity file. So if the process dies
// during the truncation of the log that follows, the next start begins a new id.
func (n *Node) markUnclean(id identity.State) error {
	id.Boot, id.Durable, id.Clean, id.CleanEnd, id.Log = "", false, false, 0, identity.LogName{}
	return id.Save(n.c.FS, n.c.Dir)
}
