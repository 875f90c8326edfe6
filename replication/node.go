package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
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

// Node is one master or replica with everything it owns. Most fields are its parts, each a type in
// a file of its own. DESIGN.md, "Locks", states the order of all mutexes.
type Node struct {
	c       Config
	logger  zerolog.Logger
	runID   string // 40 hex digits, new at each start
	started time.Time

	lock     *identity.Lock
	listener net.Listener
	log      *replog.Log
	keys     atomic.Pointer[keyspace.Keyspace]

	readGate readGate // whether commands that need the data are executed

	// identityMu is held while the identity file is changed: by the appender, by SetComplete and at
	// the stop.
	identityMu sync.Mutex
	state      state
	appender   *appender
	snaps      *snapshots.Store
	clients    *clients
	replicas   *replicas
	throttle   *syncthrottle.Throttle
	forms      *forms
	upstream   *follower
	failover   *failover
	stats      stats
	settings   settings
	quorum     *quorum
	stalls     writeStalls

	life struct {
		sync.Mutex
		running bool
		closed  bool          // closed, or closing
		cancel  func()        // ends Run
		done    chan struct{} // closed when everything is released
	}
}

// state is what PSYNC, Status and the clients read together. The appender changes it; SetComplete
// changes complete.
type state struct {
	sync.Mutex
	id identity.State // as in the identity file
	// false also while data are dropped for a full resync or were not loaded
	complete bool
	// why a replica started without the data of its directory; nil: it has data
	unusable error
	// identityFrozen forbids changes of the identity file: it holds the clean mark, or a failed
	// save left its contents unknown.
	identityFrozen bool
	// what an operator must do about a directory that seems lost; empty: nothing
	advice  string
	changed chan struct{} // closed and replaced when role or term changes
}

// Open locks the directory against a second owner, recovers the data in it and listens. Clients are
// served from Run on; until Open returns they get LOADING.
//
// Open returns an error if the configuration is invalid, the port or the directory is in use, or
// the data cannot be recovered. The directory is not changed then, unless recovery had begun.
func Open(c Config) (*Node, error) {
	c = c.withDefaults()
	if _, err := atLeast7(c.AssumeReplicas); err != nil {
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
	// Everything that a wrong configuration can fail comes before the first change of the
	// directory, so that a failed start keeps the clean mark of the last stop.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	lock, err := identity.LockDir(c.FS, c.Dir)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("open node: %w", err)
	}
	n := &Node{
		c: c, logger: c.Logger, lock: lock, listener: listener,
		runID: string(identity.NewID()), started: time.Now(),
	}
	n.settings.apply(c)
	n.quorum = &quorum{n: n}
	n.state.changed = make(chan struct{})
	n.life.done = make(chan struct{})
	n.snaps = newSnapshots(n)
	n.clients = newClients(n)
	n.replicas = newReplicas(n)
	n.throttle = syncthrottle.New(c.MaxFullSyncs, c.FullSyncRate)
	n.forms = newForms(n)
	n.upstream = &follower{n: n}
	n.failover = &failover{n: n, requests: make(chan handOver, 1), state: failoverNone}
	if err := n.load(); err != nil {
		return nil, fmt.Errorf("open node: %w", errors.Join(err, n.free()))
	}
	if c.TLS != nil {
		n.listener = tls.NewListener(n.listener, c.TLS)
	}
	return n, nil
}

// load recovers the data of the directory. Clients that connect meanwhile get LOADING.
func (n *Node) load() error {
	stop := answerLoading(n.listener.(*net.TCPListener), n.c.TLS != nil)
	defer stop()
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

// free closes and unlocks what Open opened.
func (n *Node) free() error {
	var errs []error
	if n.listener != nil {
		if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	return errors.Join(append(errs, n.lock.Release())...)
}

// Run serves until ctx ends, Close is called or the log fails. It returns when every goroutine of
// the node has ended and the directory is unlocked. It returns nil if ctx ended or Close was
// called, and everything written is known to be on disk. It may be called once.
func (n *Node) Run(ctx context.Context) error {
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
	rest.Go(func() { n.clients.accept(ctx, n.listener) })
	rest.Go(func() { n.upstream.run(ctx) })
	rest.Go(func() { n.failover.run(ctx) })
	rest.Go(func() { n.snaps.Run(ctx) })
	<-ctx.Done()
	n.listener.Close() // ends accept; free reports the error
	rest.Wait()
	close(n.appender.stop)
	appender.Wait()

	n.life.Lock()
	n.life.closed = true
	n.life.Unlock()
	err := errors.Join(n.appender.err, n.stopCleanly(), n.free())
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
	host, _, _ := net.SplitHostPort(n.Addr())
	if n.c.Password == "" && !net.ParseIP(host).IsLoopback() {
		n.logger.Warn().
			Msg("no password is set: any client that reaches this address can read and replicate " +
				"all data; administration is limited to clients of this host")
	}
}

// stopCleanly leaves a directory that starts fast and keeps its replication id. Every goroutine of
// the node has ended.
func (n *Node) stopCleanly() error {
	if err := n.markClean(); err != nil || n.appender.err != nil {
		return err
	}
	// The clean mark is saved: a kill from here on loses no data, only the snapshot.
	if n.appender.dropped != nil {
		return nil
	}
	point := func() snapshots.Point { return n.pointOf(n.Keyspace()) }
	if err := n.snaps.WriteLast(point); err != nil {
		n.logger.Warn().Err(err).
			Msg("no snapshot at the stop: the next start replays the log instead")
	}
	return nil
}

// markClean syncs the log and saves in the identity file that everything up to its end is on disk.
func (n *Node) markClean() error {
	n.identityMu.Lock() // the owner may still call SetComplete
	defer n.identityMu.Unlock()
	n.state.Lock()
	n.state.identityFrozen = true
	n.state.Unlock()
	if n.appender.err != nil {
		return nil // without a clean mark, because what is on disk is unknown
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
	return errors.Join(n.stopCleanly(), n.free())
}

// Addr returns the address that the node listens on, host:port.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// identity returns the current identity.
func (n *Node) identity() identity.State {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.id
}

// Apply writes one unit: the RESP bytes of one command, or of MULTI to EXEC, 1 byte to 1 GiB. It
// returns the offset at which the unit ends, after the unit is in the log and visible to readers. A
// unit that cannot be applied returns an error and changes nothing. A term other than the current
// one returns ErrDemoted.
//
// Apply waits while the disk is full, while fewer than Config.MinReplicas replicas keep up, and
// while a failover waits for its replica. It is slowed while a snapshot keeps more than
// Config.SnapshotMemory. Status.Held shows the reason.
//
// The bytes may be reused after the return. A ctx that ends while the appender works on the unit
// does not undo the unit. Run must be running.
func (n *Node) Apply(ctx context.Context, t Term, unit []byte) (replog.Offset, error) {
	if err := n.quorum.await(ctx, t); err != nil {
		return 0, err
	}
	if err := n.snaps.Throttle(ctx); err != nil {
		return 0, err
	}
	end, err := n.appender.submit(ctx, t, unit, nil)
	if err != nil {
		return n.applyWithRetry(ctx, t, unit, err)
	}
	return end, nil
}

const (
	fullRetryMin = 50 * time.Millisecond // between attempts while the disk is full
	fullRetryMax = time.Second
)

// applyWithRetry retries a unit whose first attempt returned err, while the disk is full or a
// failover pauses the writer.
func (n *Node) applyWithRetry(
	ctx context.Context, t Term, unit []byte, err error,
) (end replog.Offset, _ error) {
	release := func() {}
	defer func() { release() }()
	full := false
	for pause := fullRetryMin; ; pause = min(2*pause, fullRetryMax) {
		var paused *pausedError
		var resumed <-chan struct{}
		var again <-chan time.Time
		switch {
		case errors.As(err, &paused):
			resumed = paused.resumed
		case isFull(err):
			if !full {
				full, release = true, n.stall(err.Error())
			}
			again = time.After(pause)
		default:
			return end, err
		}
		select {
		case <-resumed:
		case <-again:
		case <-n.appender.stopped:
			return 0, n.appender.closedErr()
		case <-ctx.Done():
			return 0, fmt.Errorf("%w; %w", ctx.Err(), err)
		}
		why := err
		end, err = n.appender.submit(ctx, t, unit, nil)
		if err != nil && errors.Is(err, ctx.Err()) {
			return 0, fmt.Errorf("%w; %w", err, why)
		}
	}
}

// Keyspace returns the current keyspace. A full resync from the upstream replaces it.
func (n *Node) Keyspace() *keyspace.Keyspace { return n.keys.Load() }

// Published returns a channel that is closed when the next unit is published.
func (n *Node) Published() <-chan struct{} { return n.appender.published.wait() }

// Offset returns the replication offset: the end of the replication log.
func (n *Node) Offset() replog.Offset { return n.log.End() }

// ReplicaOf makes the node a replica of addr, host:port, or, with an empty addr, a master under a
// new replication id. The role is saved in the directory. To name the current upstream again
// changes nothing, except that a node that stopped following (LinkStopped) requests a full resync.
//
// It returns an error if addr is malformed or the node itself, during a failover, if the identity
// file cannot be saved, and, for a promotion, while the data are dropped for a full resync.
func (n *Node) ReplicaOf(ctx context.Context, addr string) error {
	if addr != "" {
		if err := CheckAddr(addr); err != nil {
			return fmt.Errorf("change upstream: %w", err)
		}
		if isOwn(n.Addr(), addr) {
			return fmt.Errorf("change upstream: %s is this node itself", addr)
		}
	}
	_, err := n.appender.submit(ctx, 0, nil, func() error {
		if n.failover.now() != failoverNone {
			return errors.New(
				"REPLICAOF not allowed while failing over.",
			) //nolint:staticcheck // Redis's own words
		}
		return n.appender.replicaOf(addr)
	})
	return err
}

// Snapshot writes a snapshot of the current offset or a later one, after the one being written if
// there is one, and returns when the file is on disk. It returns ErrClosed when the node stops, and
// the error of ctx or of the attempt.
func (n *Node) Snapshot(ctx context.Context) (SnapshotStatus, error) {
	err := n.snaps.Wait(ctx, n.snaps.Request())
	if errors.Is(err, snapshots.ErrStopped) {
		err = ErrClosed
		if isClosed(n.appender.stopped) {
			err = n.appender.closedErr()
		}
	}
	if err != nil {
		return n.snaps.Status(), fmt.Errorf("take snapshot: %w", err)
	}
	return n.snaps.Status(), nil
}

func (n *Node) newKeyspace() *keyspace.Keyspace {
	return keyspace.New(keyspace.Options{HiddenPrefix: n.c.HiddenPrefix, Now: n.c.Now})
}
