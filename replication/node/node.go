package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/notify"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
	"rowfall/replication/syncthrottle"
)

// ErrDemoted is returned by Apply for a unit with a term other than the current one, and while the
// node is a replica. The writer must stop, and may start again from the position in the data when
// the node is a master again.
var ErrDemoted = errors.New("node is not the master of this term")

// ErrClosed is returned when the node is closing or closed.
var ErrClosed = errors.New("node is closed")

// Node is the core of one master or replica: everything but the clients' side. It has more than 15
// fields, because most of them are its parts, each a type in a file of its own. DESIGN.md of
// package replication, "Locks", states the order of all mutexes.
type Node struct {
	c       Config
	addr    string // host:port on which the clients' side listens
	logger  zerolog.Logger
	runID   string // 40 hex digits, new at each start
	started time.Time

	lock *identity.Lock // nil for a replacement, whose directory lies in a locked one
	log  *replog.Log
	keys atomic.Pointer[keyspace.Keyspace]

	readGate readGate // whether commands that need the data may be executed

	// identityMu is held while the identity file is changed: by the appender, by SetComplete, and
	// by the stop.
	identityMu sync.Mutex
	state      state
	appender   *appender
	snaps      *snapshots.Store
	replicas   *replicas
	throttle   *syncthrottle.Throttle
	encodings  *encodings
	upstream   *follower
	failover   *failover
	stats      stats
	settings   *Settings
	quorum     *quorum
	stalls     writeStalls

	replacement *replacement // new data that are built while the node serves the old data

	connections atomic.Int64 // the newest id of a connection; see NextConnectionID

	life struct {
		sync.Mutex
		running bool
		closed  bool          // closed, or closing
		cancel  func()        // ends Run
		done    chan struct{} // closed when everything is released
	}
}

// state is what PSYNC, Status and the clients read together. The appender changes state;
// SetComplete changes complete.
type state struct {
	sync.Mutex
	id identity.State // as in the identity file
	// also false while the data are freed for a full resync, or were not loaded
	complete bool
	// why a replica started without the data of its directory; nil: it started with them
	unusable error
	// identityFrozen forbids changes of the identity file: the file has the clean mark, or a failed
	// save left its contents unknown.
	identityFrozen bool
	// what an operator must do about a directory that seems lost; empty: nothing
	advice  string
	changed notify.Signal // of role or term
}

// freezeIdentity forbids changes of the identity file.
func (s *state) freezeIdentity() {
	s.Lock()
	defer s.Unlock()
	s.identityFrozen = true
}

// dataReplacedLocked records that a full resync replaced the data: they are complete, under id.
func (s *state) dataReplacedLocked(id identity.State) {
	s.id, s.complete, s.unusable, s.advice = id, true, nil, ""
}

// Open locks the directory against a second owner and recovers the data in it. addr is the address,
// host:port, at which the clients' side listens already. Nothing runs until Run.
//
// Open returns an error if the configuration is invalid, the directory is in use, or the data
// cannot be recovered. The directory is not changed then, unless recovery had begun.
func Open(c Config, addr string) (*Node, error) {
	c = c.withDefaults()
	// The configuration is validated before the first change of the directory, so that a failed
	// start keeps the clean mark of the last stop.
	if _, err := LoadsListpacks(c.AssumeReplicas); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	if c.ReplicaOf != "" {
		if err := CheckAddr(c.ReplicaOf); err != nil {
			return nil, fmt.Errorf("open node: address of the upstream: %w", err)
		}
		if isOwn(c.Listen, c.ReplicaOf) {
			return nil, fmt.Errorf("open node: its upstream %s would be itself", c.ReplicaOf)
		}
	}
	lock, err := identity.LockDir(c.FS, c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	n, err := open(c, addr, lock)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	return n, nil
}

// open recovers the data in the directory of a complete configuration. It takes over lock, which is
// nil if the directory needs none.
func open(c Config, addr string, lock *identity.Lock) (*Node, error) {
	n := &Node{
		c: c, addr: addr, logger: c.Logger, lock: lock,
		runID: string(identity.NewID()), started: time.Now(), settings: newSettings(c),
	}
	n.stalls.logger = n.logger
	n.life.done = make(chan struct{})
	n.snaps = newSnapshots(n)
	n.replicas = newReplicas(n.logger)
	n.quorum = &quorum{settings: n.settings, replicas: n.replicas}
	n.throttle = syncthrottle.New(c.MaxFullSyncs, c.FullSyncRate)
	n.encodings = newEncodings(c)
	n.upstream = &follower{n: n}
	n.replacement = newReplacement(n)
	n.failover = &failover{n: n, requests: make(chan handOver, 1), state: failoverNone}
	if err := n.load(); err != nil {
		return nil, errors.Join(err, n.releaseResources())
	}
	return n, nil
}

// load recovers the data of the directory.
func (n *Node) load() error {
	if err := n.loadSettings(); err != nil {
		return err
	}
	// a setting saved by CONFIG REWRITE wins over the configuration
	n.c.Log.Keep = n.settings.keep.Load()
	if err := n.recover(); err != nil {
		return err
	}
	n.appender = newAppender(n)
	if err := n.failover.recover(); err != nil { // needs the recovered identity
		return errors.Join(err, n.markClean())
	}
	n.updateReadGate()
	return nil
}

// releaseResources closes and unlocks what Open opened.
func (n *Node) releaseResources() error {
	var err error
	if n.log != nil {
		err = n.log.Close()
	}
	if n.lock != nil {
		err = errors.Join(err, n.lock.Release())
	}
	return err
}

// Run works until ctx ends, Close is called or the log fails. Meanwhile it runs serve, the clients'
// side, which must end when its context ends. Run returns when every goroutine of the node has
// ended, serve included, and the directory is unlocked. It returns nil if ctx ended or Close was
// called, and everything written is known to be on disk. It may be called once.
func (n *Node) Run(ctx context.Context, serve func(ctx context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.life.Lock()
	if n.life.closed || n.life.running {
		n.life.Unlock()
		return fmt.Errorf("run node: %w", ErrClosed)
	}
	n.life.running, n.life.cancel = true, cancel
	n.life.Unlock()
	defer close(n.life.done)
	n.logStart()

	// The appender ends last, because the other goroutines submit work to it.
	var appender sync.WaitGroup
	appender.Go(func() {
		if n.appender.loop() != nil {
			cancel()
		}
	})
	var rest sync.WaitGroup
	rest.Go(func() { serve(ctx) })
	rest.Go(func() { n.upstream.run(ctx) })
	rest.Go(func() { n.failover.run(ctx) })
	rest.Go(func() { n.snaps.Run(ctx) })
	rest.Go(func() { n.replacement.run(ctx) })
	rest.Wait()
	close(n.appender.stop)
	appender.Wait()

	n.life.Lock()
	n.life.closed = true
	n.life.Unlock()
	err := errors.Join(n.appender.err, n.stopCleanly(), n.releaseResources())
	n.logger.Info().Stringer("offset", n.Offset()).Bool("failed", err != nil).Msg("node stopped")
	if err != nil {
		return fmt.Errorf("run node: %w", err)
	}
	return nil
}

func (n *Node) logStart() {
	role, term := n.Role()
	n.logger.Info().Str("listen", n.Addr()).Str("dir", n.c.Dir).
		Stringer("role", role).Uint64("term", uint64(term)).
		Str("replid", string(n.identity().History.ID())).Stringer("offset", n.Offset()).
		Int("keys", n.Keyspace().Len()).Bool("complete", n.isComplete()).Msg("node started")
}

// stopCleanly marks the directory clean, so that the next start keeps the replication id, and
// writes a snapshot, so that the next start is fast. Every goroutine of the node has ended.
func (n *Node) stopCleanly() error {
	if err := n.markClean(); err != nil || n.appender.err != nil {
		return err
	}
	// The clean mark is saved. From here on a kill loses no data, but only the snapshot.
	if n.appender.missing != nil {
		return nil
	}
	point := func() snapshots.Point { return n.pointOf(n.Keyspace()) }
	if err := n.snaps.WriteLast(point); err != nil {
		n.logger.Warn().Err(err).
			Msg("no snapshot at the stop: the next start replays the log instead")
	}
	return nil
}

// markClean syncs the log, and saves in the identity file that everything up to the log's end is on
// disk.
func (n *Node) markClean() error {
	n.identityMu.Lock() // the owner may still call SetComplete
	defer n.identityMu.Unlock()
	n.state.freezeIdentity()
	if n.appender.err != nil {
		return nil // without a clean mark, because the contents of the disk are unknown
	}
	if err := n.log.Sync(); err != nil {
		return err
	}
	id := n.identity()
	id.Clean, id.CleanEnd = true, n.log.End()
	return id.Save(n.c.FS, n.c.Dir)
}

// Close ends Run and waits for it, or, without Run, releases what Open opened. It may be called
// again.
func (n *Node) Close() error {
	n.life.Lock()
	if n.life.running {
		n.life.Unlock()
		n.life.cancel()
		<-n.life.done
		return nil
	}
	defer n.life.Unlock()
	if n.life.closed {
		return nil
	}
	n.life.closed = true
	close(n.appender.stopped)
	n.snaps.Stop()
	close(n.life.done)
	return errors.Join(n.stopCleanly(), n.releaseResources())
}

// Addr returns the address that the node listens on, host:port.
func (n *Node) Addr() string { return n.addr }

// RunID returns 40 hex digits that are new at each start.
func (n *Node) RunID() string { return n.runID }

// Started returns when the node was opened.
func (n *Node) Started() time.Time { return n.started }

// NextConnectionID returns the id of the next connection: a client's, or the link to the upstream.
func (n *Node) NextConnectionID() int64 { return n.connections.Add(1) }

// identity returns the current identity.
func (n *Node) identity() identity.State {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.id
}

// Now returns the node's clock in milliseconds since 1970. It decides which keys have expired.
func (n *Node) Now() int64 { return n.c.Now() }

// Keyspace returns the current keyspace. A full resync from the upstream replaces it, and so does
// InstallReplacement.
func (n *Node) Keyspace() *keyspace.Keyspace { return n.keys.Load() }

// Published returns a channel that is closed when the next unit is published.
func (n *Node) Published() <-chan struct{} { return n.appender.published.Next() }

// Offset returns the replication offset: the end of the replication log.
func (n *Node) Offset() replog.Offset { return n.log.End() }

// ReplicaOf makes the node a replica of addr, host:port, or, with an empty addr, a master under a
// new replication id. The role is saved in the directory. Naming the current upstream again changes
// nothing, except that a node that stopped following (LinkStopped) requests a full resync.
//
// It returns an error if addr is malformed or the node itself, during a failover, if the identity
// file cannot be saved, and, for a promotion, while the data are freed for a full resync.
func (n *Node) ReplicaOf(ctx context.Context, addr string) error {
	if addr != "" {
		if err := CheckAddr(addr); err != nil {
			return fmt.Errorf("change upstream: %w", err)
		}
		if isOwn(n.Addr(), addr) {
			return fmt.Errorf("change upstream: %s is this node itself", addr)
		}
	}
	return n.appender.do(ctx, func() error {
		if n.failover.now() != failoverNone {
			//nolint:staticcheck // Redis's own words
			return errors.New("REPLICAOF not allowed while failing over.")
		}
		return n.appender.replicaOf(addr)
	})
}

// Snapshot writes a snapshot of the current offset or a later one, after the one being written if
// there is one, and returns when the file is on disk. It returns ErrClosed when the node stops, and
// the error of ctx or of the attempt.
func (n *Node) Snapshot(ctx context.Context) (SnapshotStatus, error) {
	err := n.snaps.Wait(ctx, n.snaps.Request())
	if errors.Is(err, snapshots.ErrStopped) {
		err = cmp.Or(n.appender.stopErr(), ErrClosed)
	}
	if err != nil {
		return n.snaps.Status(), fmt.Errorf("take snapshot: %w", err)
	}
	return n.snaps.Status(), nil
}

// SnapshotStatus describes the newest snapshot file and the one being written.
func (n *Node) SnapshotStatus() SnapshotStatus { return n.snaps.Status() }

// RequestSnapshot requests a snapshot of the current offset or a later one, and does not wait.
func (n *Node) RequestSnapshot() { n.snaps.Request() }

func (n *Node) newKeyspace() *keyspace.Keyspace {
	return keyspace.New(keyspace.Options{HiddenPrefix: n.c.HiddenPrefix, Now: n.c.Now})
}
