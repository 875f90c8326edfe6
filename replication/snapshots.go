package replication

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

const (
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".rdb"
	newSnapshot    = "snapshot.new" // complete, not in its place yet
	newResync      = "resync.new"   // the same, of a full resync's data
	snapshotPause  = 10 * time.Second
)

// snapshots keeps the newest snapshot file and has one written at a time. All
// who need one share it.
type snapshots struct {
	n      *Node
	encode func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error // rdb.Write

	// replacing is held while a file takes another's place, until the other is
	// removed. It is taken before the other lock.
	replacing sync.Mutex

	sync.Mutex
	newest  snapshotFile // zero Time: there is none
	spoilt  error        // why newest cannot be read any more; the log from its offset stays until another is in its place
	growing *image       // the one being written; nil: none
	pending *attempt     // asked for or running
	next    *attempt     // asked for while that one was running
	running bool
	wanted  chan struct{} // closed when pending is set and nobody runs it yet
	failed  error
	lacked  shortage  // of the last attempt, if it found no room
	pause   time.Time // no own attempt before it, after a failure
	written atomic.Int64
	short   atomic.Pointer[string] // why another cannot be written, as far as is known before it is tried; nil: it can
	guard   atomic.Pointer[guard]  // of the one being written
}

type snapshotFile struct {
	at   replog.Offset
	size int64
	live int64 // memory that its data took when it was made; 0: not known
	time time.Time
	id   identity.ID // that a file found at the start names; empty: none
}

// shortage is an attempt that found no room: so many bytes were not enough for data of that size in
// memory.
type shortage struct{ bytes, live int64 }

// attempt is one snapshot being written.
type attempt struct {
	begun bool          // its offset is being fixed, or is; under the lock
	fixed chan struct{} // closed when its offset is fixed and its file can be read
	done  chan struct{} // closed when it is in its place, or failed
	err   error         // set when done is closed
}

func snapshotName(at replog.Offset) string { return snapshotPrefix + at.String() + snapshotSuffix }

func newAttempt() *attempt {
	return &attempt{fixed: make(chan struct{}), done: make(chan struct{})}
}

// request asks for a snapshot of everything up to now or more. One that is
// under way may be older; then another follows it, one for all who ask.
func (s *snapshots) request() *attempt {
	s.Lock()
	defer s.Unlock()
	if s.pending == nil || !s.pending.begun {
		return s.requestLocked()
	}
	if s.next == nil {
		s.next = newAttempt()
	}
	return s.next
}

// requestLocked starts a snapshot, or joins the one that is under way.
func (s *snapshots) requestLocked() *attempt {
	if s.pending == nil {
		s.pending = newAttempt()
		if s.wanted != nil {
			close(s.wanted)
			s.wanted = nil
		}
	}
	return s.pending
}

// wait waits for an attempt's end.
func (s *snapshots) wait(ctx context.Context, t *attempt) error {
	select {
	case <-t.done:
		return t.err
	case <-s.n.appender.stopped:
		return s.n.appender.closedErr()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// requestIfLarge starts one when one is due. The bounds grow with the data, so
// that the effort stays a fraction of the stream.
func (s *snapshots) requestIfLarge() {
	// Whoever holds the lock may be waiting for the disk; the appender does not.
	if !s.TryLock() {
		return
	}
	defer s.Unlock()
	if s.pending == nil && time.Now().After(s.pause) && s.dueLocked() {
		s.requestLocked()
	}
}

// requestForRoom starts one unless one is under way or has just failed.
func (s *snapshots) requestForRoom() {
	if !s.TryLock() {
		return
	}
	defer s.Unlock()
	if s.pending == nil && time.Now().After(s.pause) {
		s.requestLocked()
	}
}

// dueLocked says whether the log since the newest snapshot is past a bound, or
// there is no snapshot that a restart could begin with any more.
func (s *snapshots) dueLocked() bool { return s.spoilt != nil || s.pressureLocked().due() }

// pressureLocked is what decides about the next snapshot at this moment.
func (s *snapshots) pressureLocked() pressure {
	start, end, live := s.n.log.Start(), s.n.log.End(), s.n.Keyspace().Memory().Live
	p := pressure{last: s.newest.size, every: s.n.c.SnapshotEvery, keep: s.n.settings.keep.Load(), next: 2 * live, free: -1}
	from := start
	if !s.newest.time.IsZero() {
		from = s.newest.at
		p.droppable = max(int64(from-start), 0)
	}
	p.logged = int64(end - from)
	if s.newest.live > 0 {
		p.known = true
		p.next = int64(float64(s.newest.size) * float64(live) / float64(s.newest.live))
	}
	if s.lacked.bytes > 0 && live >= s.lacked.live {
		p.lacked = s.lacked.bytes
		p.next = max(p.next, p.lacked+p.lacked/4)
	}
	if free, err := s.n.c.FS.Free(s.n.c.Dir); err == nil {
		p.free = free
	}
	return p
}

// forecast is what is to be expected of the next snapshot, or of the one that is being written.
type forecast struct {
	pressure
	running bool
	written int64 // by the running one
	failed  bool  // the last one did
}

// forecast does not wait for the lock, as the appender must not.
func (s *snapshots) forecast() (f forecast, ok bool) {
	if !s.TryLock() {
		return f, false
	}
	defer s.Unlock()
	f = forecast{pressure: s.pressureLocked(), running: s.pending != nil, failed: s.failed != nil}
	if s.growing != nil {
		f.written = s.growing.written()
	}
	return f, true
}

// run writes the snapshots that are asked for until ctx ends.
func (s *snapshots) run(ctx context.Context) {
	for {
		s.Lock()
		t, wanted := s.pending, s.wanted
		if t == nil && wanted == nil {
			wanted = make(chan struct{})
			s.wanted = wanted
		}
		s.running = t != nil
		s.Unlock()
		if t == nil {
			select {
			case <-wanted:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := s.take(ctx, t)
		s.Lock()
		s.pending, s.next = s.next, nil
		s.growing, s.running, s.failed = nil, s.pending != nil, err
		if err != nil {
			s.pause = time.Now().Add(snapshotPause)
		}
		s.Unlock()
		if err != nil && ctx.Err() == nil {
			s.n.logger.Error().Err(err).Msg("snapshot failed")
		}
		t.err = err
		close(t.done)
	}
}

// take fixes a point on the appender and writes what is there.
func (s *snapshots) take(ctx context.Context, t *attempt) error {
	if s.n.c.SyncDelay > 0 {
		select {
		case <-time.After(s.n.c.SyncDelay):
		case <-ctx.Done():
		}
	}
	s.Lock()
	t.begun = true
	s.Unlock()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var p point
	_, err := s.n.appender.submit(ctx, 0, nil, func() (err error) {
		if p, err = s.n.appender.snapshotPoint(); err == nil {
			s.guard.Store(s.n.newGuard(s.n.appender.keys, giveUp))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("fix snapshot: %w", err)
	}
	defer func() { s.guard.Swap(nil).end() }()
	return s.write(ctx, p, t)
}

// write puts the point's data on disk and, once the log up to it is durable too,
// in the place of the snapshot before it. Replicas may read the file from its
// first byte on. What fails leaves no file: on a full disk it would be the reason.
func (s *snapshots) write(ctx context.Context, p point, t *attempt) (err error) {
	defer p.keys.Close()
	began := time.Now()
	path := filepath.Join(s.n.c.Dir, newSnapshot)
	defer func() {
		if err == nil {
			return
		}
		s.Lock()
		if disk.IsFull(err) {
			err = fmt.Errorf("%w; free some space there", err)
			if s.growing != nil {
				s.lacked = shortage{s.growing.written(), p.live}
			}
		}
		s.growing = nil // nobody looks for the file any more
		s.Unlock()
		s.n.c.FS.Remove(path) //nolint:errcheck // the fault above is the one to tell
		err = fmt.Errorf("snapshot of offset %d: %w", p.at, err)
	}()
	m, err := newImage(s.n.c.FS, path, p)
	if err != nil {
		return err
	}
	s.Lock()
	s.growing = m
	close(t.fixed)
	s.Unlock()
	err = m.fill(ctx, func(w io.Writer) error {
		return s.encode(w, rdb.Aux{ReplID: string(p.id), Offset: int64(p.at), CTime: began.Unix(), Version: redisVersion}, p.keys)
	})
	if err != nil {
		return err
	}
	if err := s.n.log.Sync(); err != nil {
		return fmt.Errorf("sync log for snapshot: %w", err)
	}
	if err := s.install(p); err != nil {
		return err
	}
	s.written.Add(1)
	s.n.logger.Info().Stringer("offset", p.at).Int64("bytes", m.size).Dur("took", time.Since(began)).Msg("snapshot written")
	return nil
}

func (s *snapshots) writeFile(ctx context.Context, path string, keys *keyspace.Snapshot, id identity.ID, at replog.Offset) error {
	return disk.WriteFile(s.n.c.FS, path, func(f disk.File) error {
		w := bufio.NewWriterSize(&stoppable{ctx, io.NewOffsetWriter(f, 0)}, 1<<20)
		aux := rdb.Aux{ReplID: string(id), Offset: int64(at), CTime: time.Now().Unix(), Version: redisVersion}
		if err := rdb.Write(w, aux, keys); err != nil {
			return err
		}
		return w.Flush()
	})
}

// stoppable ends a long write when the node stops or the snapshot is given up.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

func (s *stoppable) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.w.Write(p)
}

// install makes the complete file of a point the newest snapshot, and then removes
// the others and the log that only they needed. Removing much takes long, and only
// who replaces snapshots waits for that.
func (s *snapshots) install(p point) error {
	s.replacing.Lock()
	defer s.replacing.Unlock()
	s.Lock()
	if s.n.log.Generation() != p.gen {
		s.Unlock()
		return errors.New("a full resync replaced the data meanwhile")
	}
	file, err := s.move(newSnapshot, p.at)
	if err == nil {
		file.live = p.live
		s.newest, s.spoilt, s.lacked = file, nil, shortage{}
	}
	s.growing = nil
	s.Unlock()
	if err != nil {
		return err
	}
	if err := s.removeBut(p.at); err != nil {
		return err
	}
	if err := s.n.log.Retain(p.at); err != nil {
		return fmt.Errorf("retain log from snapshot: %w", err)
	}
	return nil
}

// installResync makes a full resync's file the newest snapshot. The others are
// removed by the caller, who holds replacing.
func (s *snapshots) installResync(at replog.Offset, live int64) error {
	s.Lock()
	defer s.Unlock()
	file, err := s.move(newResync, at)
	if err == nil {
		file.live = live
		s.newest, s.spoilt, s.lacked = file, nil, shortage{}
	}
	return err
}

// move gives a complete file its name. It may be repeated: a file that has its
// name already is left there.
func (s *snapshots) move(name string, at replog.Offset) (snapshotFile, error) {
	fsys, dir := s.n.c.FS, s.n.c.Dir
	path := filepath.Join(dir, snapshotName(at))
	if err := fsys.Rename(filepath.Join(dir, name), path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return snapshotFile{}, fmt.Errorf("install snapshot: %w", err)
	}
	f, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return snapshotFile{}, fmt.Errorf("install snapshot: %w", err)
	}
	size, err := f.Size()
	if err = errors.Join(err, f.Close(), fsys.SyncDir(dir)); err != nil {
		return snapshotFile{}, fmt.Errorf("install snapshot: %w", err)
	}
	return snapshotFile{at: at, size: size, time: time.Now()}, nil
}

// removeBut removes all but one.
func (s *snapshots) removeBut(but replog.Offset) error {
	files, err := s.list()
	if err != nil {
		return err
	}
	for _, at := range files {
		if at == but {
			continue
		}
		if err := s.n.c.FS.Remove(filepath.Join(s.n.c.Dir, snapshotName(at))); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return nil
}

// list returns the offsets of the directory's snapshot files.
func (s *snapshots) list() ([]replog.Offset, error) {
	names, err := s.n.c.FS.ReadDir(s.n.c.Dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var at []replog.Offset
	for _, name := range names {
		number, found := strings.CutPrefix(name, snapshotPrefix)
		number, ok := strings.CutSuffix(number, snapshotSuffix)
		if !found || !ok {
			continue
		}
		o, err := replog.ParseOffset(number)
		if err != nil || snapshotName(o) != name {
			return nil, fmt.Errorf("list snapshots: %s is not named by an offset; move it away", filepath.Join(s.n.c.Dir, name))
		}
		at = append(at, o)
	}
	return at, nil
}

// lastSnapshot is how long a stop may be held up to make the next start shorter.
const lastSnapshot = 20 * time.Second

// last takes a snapshot at a clean stop if one is due anyway, and gives it up if
// that takes long: the next start then replays the log.
func (s *snapshots) last() error {
	if s.n.appender.dropped != nil {
		return nil
	}
	s.Lock()
	due := s.dueLocked()
	s.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSnapshot)
	defer cancel()
	p := s.n.pointOf(s.n.Keyspace())
	return s.write(ctx, p, &attempt{fixed: make(chan struct{})})
}

func (s *snapshots) status() SnapshotStatus {
	s.Lock()
	defer s.Unlock()
	st := SnapshotStatus{Offset: s.newest.at, Size: s.newest.size, Time: s.newest.time, Running: s.running, Written: s.written.Load()}
	switch {
	case s.spoilt != nil && s.failed != nil:
		st.Err = s.spoilt.Error() + "; and another: " + s.failed.Error()
	case s.spoilt != nil:
		st.Err = s.spoilt.Error()
	case s.failed != nil:
		st.Err = s.failed.Error()
	default:
		if why := s.short.Load(); why != nil {
			st.Err = *why
		}
	}
	return st
}
