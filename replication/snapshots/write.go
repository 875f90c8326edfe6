package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// take fixes a point and writes its snapshot.
func (s *Store) take(ctx context.Context, j *job) error {
	if s.c.Delay > 0 {
		select {
		case <-time.After(s.c.Delay):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	j.begun = true
	s.mu.Unlock()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	p, err := s.node.Point(ctx, func(keys *keyspace.Keyspace) {
		s.limit.Store(newMemoryLimit(s.node, s.c.Memory, keys, abort))
	})
	defer func() { s.limit.Swap(nil).end() }()
	if err != nil {
		return fmt.Errorf("fix snapshot: %w", err)
	}
	return s.write(ctx, p, j)
}

// write writes the point's data to a file. Once the file and the log up to the point are on
// disk, the file replaces the snapshot before it. Replicas may read the file from its first
// byte on. A failed write removes its file, which would keep a full volume full.
func (s *Store) write(ctx context.Context, p Point, j *job) (err error) {
	defer p.Keys.Close()
	began := time.Now()
	path := filepath.Join(s.c.Dir, newSnapshot)
	defer func() {
		if err != nil {
			err = s.discard(path, p, err)
		}
	}()
	w, err := newWriter(s.c.FS, path, p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.setCurrentLocked(w)
	close(j.fixed)
	s.mu.Unlock()
	if err := w.fill(ctx, s.encoder(s.encode, p.Keys, p.ID, p.At)); err != nil {
		return err
	}
	if err := s.node.Log().Sync(); err != nil {
		return fmt.Errorf("sync log for snapshot: %w", err)
	}
	if err := s.install(p); err != nil {
		return err
	}
	s.written.Add(1)
	s.c.Logger.Info().Stringer("offset", p.At).Int64("bytes", w.size).
		Dur("took", time.Since(began)).Msg("snapshot written")
	return nil
}

// discard removes the file of a failed attempt, and returns the error to report.
func (s *Store) discard(path string, p Point, err error) error {
	s.mu.Lock()
	if disk.IsFull(err) {
		err = fmt.Errorf("%w; free some space there", err)
		if s.current != nil {
			s.lacked = shortage{s.current.written(), p.Live}
		}
	}
	s.setCurrentLocked(nil) // no reader opens the file any more
	s.mu.Unlock()
	s.c.FS.Remove(path) //nolint:errcheck // err, which is older, is the one to report
	return fmt.Errorf("snapshot of offset %d: %w", p.At, err)
}

type encodeFunc func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error

func (s *Store) encoder(
	encode encodeFunc, keys *keyspace.Snapshot, id identity.ID, at replog.Offset,
) func(io.Writer) error {
	aux := rdb.Aux{
		ReplID: string(id), Offset: at, CTime: time.Now().Unix(), Version: s.c.Version,
	}
	return func(w io.Writer) error { return encode(w, aux, keys) }
}

// WriteResync writes the data of a full resync from the upstream to a file of its own, which
// InstallResync or RemoveResync ends. id and at are those of the upstream.
func (s *Store) WriteResync(
	ctx context.Context, keys *keyspace.Snapshot, id identity.ID, at replog.Offset,
) error {
	w, err := newWriter(s.c.FS, filepath.Join(s.c.Dir, newResync), Point{At: at, ID: id})
	if err != nil {
		return err
	}
	return w.fill(ctx, s.encoder(rdb.Write, keys, id, at))
}

// RemoveResync removes the file of WriteResync.
func (s *Store) RemoveResync() error {
	return s.c.FS.Remove(filepath.Join(s.c.Dir, newResync))
}

// install makes the file of a point the newest snapshot. Then it removes the other files and
// the log that only they needed, which may take long: only the replacing lock is held.
func (s *Store) install(p Point) error {
	s.replacing.Lock()
	defer s.replacing.Unlock()
	s.mu.Lock()
	if s.node.Log().Generation() != p.Generation {
		s.mu.Unlock()
		return errDataReplaced
	}
	s.setCurrentLocked(nil) // before the room of the older file becomes free
	file, err := s.move(newSnapshot, p.At)
	if err == nil {
		file.live = p.Live
		s.newest, s.unreadable, s.lacked = file, nil, shortage{}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.RemoveOthers(p.At); err != nil {
		return err
	}
	if err := s.node.Log().Retain(p.At); err != nil {
		return fmt.Errorf("retain log from snapshot: %w", err)
	}
	return nil
}

// errDataReplaced fails a snapshot of data that are not the node's any more.
var errDataReplaced = errors.New("a full resync replaced the data meanwhile")

// lastTimeout bounds how long a stop takes to make the next start shorter.
const lastTimeout = 20 * time.Second

// WriteLast writes a snapshot at a clean stop if one is due, and gives up after 20 seconds:
// the next start then replays the log instead. Run has ended. point returns the current point.
func (s *Store) WriteLast(point func() Point) error {
	s.mu.Lock()
	due := s.dueLocked()
	s.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	return s.write(ctx, point(), newJob())
}
