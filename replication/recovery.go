package replication

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/stream"
)

const logDir = "log"

// recover brings the directory's data into memory: the newest snapshot, then the
// log after it. Then, before a byte is appended or a PSYNC answered, it decides
// under which replication id the node goes on.
func (n *Node) recover() error {
	id, err := identity.Load(n.c.FS, n.c.Dir)
	fresh := identity.IsFresh(err)
	if fresh {
		id, err = identity.State{History: identity.NewHistory(identity.NewID()), Upstream: n.c.ReplicaOf}, nil
	}
	if err != nil {
		return err
	}
	if asked := n.c.ReplicaOf; asked != "" && asked != id.Upstream {
		n.log.Warn().Str("configured_upstream", asked).Str("upstream", id.Upstream).
			Msg("the role kept in the directory wins over the configured upstream: send REPLICAOF host port to follow another, or start with an empty directory")
	}
	if id.Pending {
		if id, err = n.finishResync(id); err != nil {
			return err
		}
	}
	if err := n.removeUnfinished(); err != nil {
		return err
	}
	keys, restored, err := n.restore(id)
	if err != nil {
		return err
	}
	n.keys.Store(keys)
	return n.settleIdentity(id, !fresh && restored, fresh)
}

// removeUnfinished removes what a run that was interrupted left. What a resync was
// to take over has its place by now.
func (n *Node) removeUnfinished() error {
	for _, name := range []string{
		newSnapshot, newResync, identity.Temporary(newResync),
		identity.Temporary(identity.FileName), identity.Temporary(settingsFile), identity.Temporary(failoverFile),
	} {
		if err := n.c.FS.Remove(filepath.Join(n.c.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished file: %w", err)
		}
	}
	return nil
}

// settleIdentity begins a new id if replicas may hold bytes that are lost, and
// takes the mark of a clean stop away.
func (n *Node) settleIdentity(id identity.State, restored, fresh bool) error {
	boot, end := identity.BootID(), n.store.End()
	lost := restored || n.store.Recovery().Lost || id.Lost(boot, end)
	if lost && !fresh && id.Upstream == "" {
		was := id.History.ID()
		id.History = id.History.Begin(identity.NewID(), end)
		n.log.Warn().Stringer("offset", end).Str("was_replid", string(was)).Str("replid", string(id.History.ID())).Bool("copied", id.Copied).
			Msg("written bytes may be lost by the last stop, or this is a copy of the directory: a new replication id begins")
	}
	// What was written before this under another policy is on disk: opening the log saw to that.
	id.Clean, id.CleanEnd, id.Copied, id.Boot, id.Durable = false, 0, false, boot, n.c.Log.Fsync == stream.Always
	if id.CompleteAt > end { // what completed them is lost
		id.Complete, id.CompleteAt = false, 0
	}
	if err := id.Save(n.c.FS, n.c.Dir); err != nil {
		return err
	}
	n.state.id, n.state.complete = id, id.Complete
	return nil
}

// finishResync completes a replacement of the data that a crash interrupted.
func (n *Node) finishResync(id identity.State) (identity.State, error) {
	if _, err := n.snaps.move(newResync, id.PendingAt); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	if err := n.snaps.removeBut(id.PendingAt); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	l, err := stream.Create(filepath.Join(n.c.Dir, logDir), id.PendingAt, n.c.Log)
	if err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	if err := l.Close(); err != nil {
		return id, fmt.Errorf("finish interrupted resync: %w", err)
	}
	id.Pending, id.PendingAt = false, 0
	return id, id.Save(n.c.FS, n.c.Dir)
}

func (n *Node) newKeyspace() *keyspace.Keyspace {
	return keyspace.New(keyspace.Options{HiddenPrefix: n.c.HiddenPrefix, Now: n.c.Now})
}

// loadSnapshot loads the newest snapshot that is whole. Only a crash between two
// steps leaves more than one.
func (n *Node) loadSnapshot() (*keyspace.Keyspace, stream.Offset, error) {
	files, err := n.snaps.list()
	if err != nil {
		return nil, 0, err
	}
	slices.Sort(files)
	slices.Reverse(files)
	var faults []error
	for _, at := range files {
		keys := n.newKeyspace()
		path := filepath.Join(n.c.Dir, snapshotName(at))
		file, err := n.loadFile(path, at, keys)
		if err == nil {
			n.snaps.newest = file
			return keys, at, nil
		}
		faults = append(faults, err)
		n.log.Warn().Err(err).Str("file", path).Msg("snapshot is not usable")
	}
	if len(faults) > 0 {
		return nil, 0, fmt.Errorf("%w; restore the file, or empty %s to begin anew", errors.Join(faults...), n.c.Dir)
	}
	return n.newKeyspace(), 0, nil
}

func (n *Node) loadFile(path string, at stream.Offset, keys *keyspace.Keyspace) (file snapshotFile, err error) {
	f, err := n.c.FS.Open(path, os.O_RDONLY)
	if err != nil {
		return file, fmt.Errorf("load snapshot: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	size, err := f.Size()
	if err != nil {
		return file, fmt.Errorf("load snapshot: %w", err)
	}
	aux, err := rdb.Read(bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<20), keys.Loader())
	if err != nil {
		return file, fmt.Errorf("load snapshot %s: %w", path, err)
	}
	if aux.ReplID != "" && aux.Offset != int64(at) {
		return file, fmt.Errorf("load snapshot %s: it says inside that it is of offset %d", path, aux.Offset)
	}
	if aux.Empty > 0 {
		n.log.Warn().Int("keys", aux.Empty).Str("file", path).Msg("the snapshot has collections without elements; they are left out")
	}
	made := n.started
	if aux.CTime > 0 {
		made = time.Unix(aux.CTime, 0)
	}
	return snapshotFile{at: at, size: size, time: made}, nil
}

// joinLog checks that the log meets the snapshot of offset at. A
// snapshot without any log is a backup put back: restored is true then.
func (n *Node) joinLog(id identity.State, at stream.Offset) (restored bool, err error) {
	dir := filepath.Join(n.c.Dir, logDir)
	start, end := n.store.Start(), n.store.End()
	if end.IsZero() && !at.IsZero() {
		if err := n.doubt(id); err != nil {
			return false, err
		}
		if err := n.store.Reset(at); err != nil {
			return false, fmt.Errorf("begin log at snapshot: %w", err)
		}
		return true, nil
	}
	if at < start {
		have := "there is no snapshot"
		if !n.snaps.newest.time.IsZero() {
			have = fmt.Sprintf("%s ends at offset %d", filepath.Join(n.c.Dir, snapshotName(at)), at)
		}
		return false, fmt.Errorf("open log: %s but the log in %s begins after offset %d; put a snapshot-OFFSET.rdb between %d and %d back, or empty %s to begin anew",
			have, dir, start, start, end, n.c.Dir)
	}
	if at > end {
		return false, fmt.Errorf("open log: %s is of offset %d but the log in %s ends at offset %d; put the missing log segments back, or remove %s: replicas then resync fully",
			filepath.Join(n.c.Dir, snapshotName(at)), at, dir, end, dir)
	}
	if err := n.store.Retain(max(at, start)); err != nil {
		return false, fmt.Errorf("open log: %w", err)
	}
	return false, nil
}

// tidyEvery is after how many units of a replay the keyspace gives back memory, as it does with time otherwise.
const tidyEvery = 1024

// replay applies the log after the snapshot. The keys that ran out meanwhile are
// still there for their DEL: the log says when they went.
func (n *Node) replay(keys *keyspace.Keyspace, at stream.Offset) error {
	units := 0
	err := n.store.Replay(at, func(r stream.Record) error {
		if r.Kind != stream.Unit && r.Kind != stream.Expiry {
			return nil
		}
		if err := keys.Stage(r.Payload); err != nil {
			return fmt.Errorf("the %s at offset %d cannot be applied: %w", r.Kind, r.Start, err)
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
