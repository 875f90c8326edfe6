package snapshots

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/notify"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// retryPause is the time after a failed snapshot in which the store starts none on its own.
const retryPause = 10 * time.Second

// ErrStopped is returned by waits for a snapshot when the store has stopped.
var ErrStopped = errors.New("no snapshot is written any more: the node is stopping")

// Node is what the store needs of the node whose data it writes.
type Node interface {
	// Point fixes a snapshot's contents between two units. fixed is called at that moment,
	// before the next unit is applied.
	Point(ctx context.Context, fixed func(*keyspace.Keyspace)) (Point, error)
	// Live returns the bytes of memory that the current data take.
	Live() int64
	// Log returns the replication log. It is called once the log is open.
	Log() *replog.Log
	// Stall records why writing is slowed, until release is called.
	Stall(reason string) (release func())
}

// Point is a moment of the node's data, between two units. Its owner closes Keys.
type Point struct {
	Keys       *keyspace.Snapshot
	At         replog.Offset // end of the last unit in it
	Live       int64         // bytes of memory that the data took
	ID         identity.ID   // replication id
	Generation uint64        // of the log; a full resync from the upstream begins another
}

// Config is what a Store is configured with. Its fields are required, but for those with a
// meaning of 0.
type Config struct {
	FS      disk.FS
	Dir     string       // the node's directory
	Version string       // Redis version to name inside the files
	Keep    func() int64 // current log.keep in bytes; negative: all
	// bytes of log after which a snapshot is due, unless the last one was larger
	Every int64
	// bytes of log since a snapshot up to which it serves replicas; 0: its own size, within bounds
	Reuse int64
	// bytes of replaced data that a snapshot may keep; 0: 1 GiB or a quarter of the data
	Memory int64
	Delay  time.Duration
	Logger zerolog.Logger
}

// Store keeps the newest snapshot file, and writes one at a time. Requests that arrive before the
// point of a requested snapshot is fixed share that snapshot. A Store is safe for concurrent use.
// It has more than 15 fields, because requests, the file being written and the newest file change
// together, under one lock.
type Store struct {
	c       Config
	node    Node
	encode  encodeFunc // rdb.Write, except in tests
	opened  time.Time
	stopped chan struct{} // closed when no request is served any more
	stop    func()        // closes stopped; may be called again

	replacing sync.Mutex // held while a file takes another's place, until the other is removed

	mu     sync.Mutex
	newest File
	// why newest cannot be read; the log from its offset stays until another file replaces it
	unreadable error
	current    *writer // the file being written, or nil
	pending    *job    // requested or running
	next       *job    // requested after pending had fixed its point
	running    bool
	wanted     notify.Signal // of a pending that was nil before
	failed     error         // of the last attempt
	lacked     shortage      // of the last attempt, if it found no room
	pause      time.Time     // before it the store starts no snapshot on its own

	written  atomic.Int64
	writing  atomic.Pointer[writer]      // current, for Writing
	tooSmall atomic.Pointer[string]      // why the volume cannot hold another snapshot; nil: it can
	limit    atomic.Pointer[memoryLimit] // of the snapshot being written, or nil
}

// shortage describes an attempt that found no room: that many bytes of room were not enough
// for data of that size in memory.
type shortage struct{ bytes, live int64 }

// job is one snapshot, requested or being written.
type job struct {
	begun bool          // its point is being fixed or is fixed; under Store.mu
	fixed chan struct{} // closed when its point is fixed and its file can be read
	done  chan struct{} // closed when its file is in place, or it failed
	err   error         // set before done is closed
}

func newJob() *job { return &job{fixed: make(chan struct{}), done: make(chan struct{})} }

// Job is a requested snapshot.
type Job struct{ j *job }

// New returns a store that writes nothing until Run.
func New(c Config, n Node) *Store {
	stopped := make(chan struct{})
	return &Store{
		c: c, node: n, encode: rdb.Write, opened: time.Now(),
		stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }),
	}
}

// Stop ends all waits with ErrStopped, where Run is never called.
func (s *Store) Stop() { s.stop() }

// Request requests a snapshot of everything up to this moment, or later. If the point of the
// running one is fixed already, one more snapshot follows it, shared by all such requests.
func (s *Store) Request() Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil || !s.pending.begun {
		return Job{s.requestLocked()}
	}
	if s.next == nil {
		s.next = newJob()
	}
	return Job{s.next}
}

// requestLocked requests a snapshot, or joins the one that is requested or running.
func (s *Store) requestLocked() *job {
	if s.pending == nil {
		s.pending = newJob()
		s.wanted.Notify()
	}
	return s.pending
}

// Wait waits until a requested snapshot is on disk or has failed, or ctx ends.
func (s *Store) Wait(ctx context.Context, r Job) error { return s.wait(ctx, r.j) }

func (s *Store) wait(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-s.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RequestIfDue requests a snapshot if one is due. It never waits for the disk, so that the
// appender may call it: if the store is busy, it does nothing.
func (s *Store) RequestIfDue() {
	s.tryRequest(s.dueLocked)
}

// RequestForRoom requests a snapshot, so that log can be trimmed, unless one is running or has just
// failed. Like RequestIfDue it does not wait.
func (s *Store) RequestForRoom() {
	s.tryRequest(func() bool { return true })
}

func (s *Store) tryRequest(wanted func() bool) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.pending == nil && time.Now().After(s.pause) && wanted() {
		s.requestLocked()
	}
}

// dueLocked reports whether the log since the newest snapshot passes a bound, or the newest
// snapshot cannot be read.
func (s *Store) dueLocked() bool { return s.unreadable != nil || s.pressureLocked().Due() }

// pressureLocked returns the inputs of the decision about the next snapshot.
func (s *Store) pressureLocked() Pressure {
	log, live := s.node.Log(), s.node.Live()
	start, end := log.Start(), log.End()
	p := Pressure{Last: s.newest.Size, Every: s.c.Every, Keep: s.c.Keep(), Free: -1}
	from := start
	if !s.newest.IsZero() {
		from = s.newest.At
		p.Trimmable = max(int64(from-start), 0)
	}
	p.Logged = int64(end - from)
	// A file has hardly more bytes than the log that made its data. Many keys with the same long
	// field names take far fewer in memory.
	p.Next = max(2*live, min(8*live, p.Last+p.Logged))
	if s.newest.live > 0 {
		p.Known = true
		p.Next = int64(float64(s.newest.Size) * float64(live) / float64(s.newest.live))
	}
	if s.lacked.bytes > 0 && live >= s.lacked.live {
		p.Lacked = s.lacked.bytes
		p.Next = max(p.Next, p.Lacked+p.Lacked/4)
	}
	if free, err := s.c.FS.Free(s.c.Dir); err == nil {
		p.Free = free
	}
	return p
}

// Forecast is what can be expected of the next snapshot, or of the one being written.
type Forecast struct {
	Pressure
	Running bool
	Failed  bool // the last attempt failed
}

// Forecast returns a forecast. ok is false if the store is busy, as while a file replaces another,
// whose room is free soon: the appender, which calls this, must not wait for the disk.
func (s *Store) Forecast() (f Forecast, ok bool) {
	if !s.replacing.TryLock() {
		return f, false
	}
	defer s.replacing.Unlock()
	if !s.mu.TryLock() {
		return f, false
	}
	defer s.mu.Unlock()
	f = Forecast{Pressure: s.pressureLocked(), Running: s.pending != nil, Failed: s.failed != nil}
	return f, true
}

// Writing returns how many bytes of the volume the file that is being written takes by now. When
// the file replaces another, Writing returns 0 before the other's room becomes free. It never waits
// for the disk.
func (s *Store) Writing() int64 {
	if w := s.writing.Load(); w != nil {
		return w.written()
	}
	return 0
}

// setCurrentLocked sets the file that is being written; nil: none.
func (s *Store) setCurrentLocked(w *writer) {
	s.current = w
	s.writing.Store(w)
}

// Run writes the requested snapshots until ctx ends.
func (s *Store) Run(ctx context.Context) {
	defer s.stop()
	for {
		s.mu.Lock()
		j, wanted := s.pending, s.wanted.Next()
		s.running = j != nil
		s.mu.Unlock()
		if j == nil {
			select {
			case <-wanted:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := s.take(ctx, j)
		s.mu.Lock()
		s.pending, s.next = s.next, nil
		s.setCurrentLocked(nil)
		s.running, s.failed = s.pending != nil, err
		if err != nil {
			s.pause = time.Now().Add(retryPause)
		}
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.c.Logger.Error().Err(err).Msg("snapshot failed")
		}
		j.err = err
		close(j.done)
	}
}

// SetTooSmall sets why the volume cannot hold another snapshot, for Status; empty: it can.
func (s *Store) SetTooSmall(why string) {
	if why == "" {
		s.tooSmall.Store(nil)
		return
	}
	s.tooSmall.Store(&why)
}

// Status describes the newest snapshot file and the one being written.
type Status struct {
	Offset  replog.Offset // the newest file holds everything up to it
	Size    int64         // bytes of the newest file; 0: no file
	Time    time.Time     // when the newest file was completed
	Running bool          // a snapshot is being written
	Written int64         // snapshots completed since the start
	// why the last attempt failed, or the newest file cannot be read; empty: neither
	Err string
}

// Status returns the store's status.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Offset: s.newest.At, Size: s.newest.Size, Time: s.newest.Time,
		Running: s.running, Written: s.written.Load(),
	}
	switch why := s.tooSmall.Load(); {
	case s.unreadable != nil && s.failed != nil:
		st.Err = fmt.Sprintf("%v; and another: %v", s.unreadable, s.failed)
	case s.unreadable != nil:
		st.Err = s.unreadable.Error()
	case s.failed != nil:
		st.Err = s.failed.Error()
	case why != nil:
		st.Err = *why
	}
	return st
}
