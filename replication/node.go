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

	"rowfall/replication/governor"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// ErrDemoted is returned when a unit comes with a term that is not the node's
// current one, or while the node is a replica. The caller's loop ends, and
// starts anew from the data when the node is a master again.
var ErrDemoted = errors.New("node is not the master of this term")

// ErrClosed is returned when the node is closing or closed.
var ErrClosed = errors.New("node is closed")

// Node is one master or replica and everything it owns. Most of its fields are its
// parts, a type and a file each; what they share is state and the lock before it.
type Node struct {
	c       Config
	logger  zerolog.Logger
	runID   string // this process's run, 40 hex digits
	started time.Time

	lock     *identity.Lock
	listener net.Listener
	log      *replog.Log
	keys     atomic.Pointer[keyspace.Keyspace]

	refusal atomic.Pointer[string] // the error that commands that need the data get; nil: they are answered

	// saving is held while the identity file is changed: by the appender, and by
	// SetComplete. It is taken before state and before the snapshots' lock.
	identityMu sync.Mutex
	state      state
	appender   *appender
	snaps      *snapshots.Store
	clients    *clients
	replicas   *replicas
	governor   *governor.Governor
	forms      *forms
	upstream   *follower
	failover   *failover
	stats      stats
	settings   settings
	quorum     *quorum
	stalls     writeStalls
	judging    sync.Mutex

	life struct {
		sync.Mutex
		running bool
		closed  bool          // shut down, or about to be
		cancel  func()        // ends Run
		done    chan struct{} // closed when all is freed
	}
}

// state is what the appender changes, SetComplete its part of it, and everybody reads.
type state struct {
	sync.Mutex
	id             identity.State // as it is on disk
	complete       bool           // differs from id's while data were dropped for others, or could not be loaded
	unusable       error          // why a replica started without the data of its directory; nil: it did not, or has others now
	identityFrozen bool           // the clean mark is written, or what the file says is not known: it changes no more
	advice         string         // what to do about a directory that seems lost; empty: it does not
	changed        chan struct{}  // closed and replaced when role or term change
}

// Open locks the directory against a second owner, recovers what is in it and
// listens. Clients are answered from Run on.
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
	// What the configuration can be wrong about comes before anything in the directory
	// is changed: a start that fails leaves the mark of the clean stop before it.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	lock, err := identity.LockDir(c.FS, c.Dir)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("open node: %w", err)
	}
	n := &Node{c: c, logger: c.Logger, lock: lock, listener: listener, runID: string(identity.NewID()), started: time.Now()}
	n.settings.apply(c)
	n.quorum = &quorum{n: n}
	n.state.changed = make(chan struct{})
	n.life.done = make(chan struct{})
	n.snaps = newSnapshots(n)
	n.clients = &clients{n: n, all: map[int64]*session{}, slowAfter: slowReplyAfter}
	n.replicas = &replicas{n: n, all: map[*replica]struct{}{}, left: map[*replica]struct{}{}, acked: make(chan struct{})}
	n.governor = governor.New(c.MaxFullSyncs, c.FullSyncRate)
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

// load recovers the directory's data; clients that connect meanwhile are answered LOADING.
func (n *Node) load() error {
	stop := answerLoading(n.listener.(*net.TCPListener), n.c.TLS != nil)
	defer stop()
	if err := n.loadSettings(); err != nil {
		return err
	}
	n.c.Log.Keep = n.settings.keep.Load() // a kept setting wins over the configuration
	if err := n.recover(); err != nil {
		return err
	}
	n.appender = newAppender(n)
	if err := n.failover.recover(); err != nil { // it goes by the identity that was recovered
		return errors.Join(err, n.markClean())
	}
	n.judge()
	return nil
}

// free gives back what Open took.
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

// Run serves until ctx ends or the log fails, and returns after everything the
// node owns has ended and the directory is free again. It returns nil if ctx
// ended or Close was called, and what was written is known to be on disk.
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

	// The appender outlives everybody who hands it work.
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
	n.listener.Close() // accept ends; free closes it for the error
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
	n.logger.Info().Str("listen", n.Addr()).Str("dir", n.c.Dir).Stringer("role", role).Uint64("term", uint64(term)).
		Str("replid", string(n.identity().History.ID())).Stringer("offset", n.Offset()).Int("keys", n.Keyspace().Len()).
		Bool("complete", n.isComplete()).Msg("node started")
	if host, _, _ := net.SplitHostPort(n.Addr()); n.c.Password == "" && !net.ParseIP(host).IsLoopback() {
		n.logger.Warn().Msg("no password is set: who reaches this address can read and follow everything; only clients of this host may administrate")
	}
}

// stopCleanly leaves a directory that starts fast and keeps its replication id.
// No goroutine of the node runs any more.
func (n *Node) stopCleanly() error {
	if err := n.markClean(); err != nil || n.appender.err != nil {
		return err
	}
	// From here on whoever does not want to wait may kill the process.
	if n.appender.dropped != nil {
		return nil
	}
	if err := n.snaps.WriteLast(func() snapshots.Point { return n.pointOf(n.Keyspace()) }); err != nil {
		n.logger.Warn().Err(err).Msg("no snapshot at the stop: the next start replays the log instead")
	}
	return nil
}

// markClean makes the log durable, and keeps for the next start that everything is.
func (n *Node) markClean() error {
	n.identityMu.Lock() // the owner may still call SetComplete
	defer n.identityMu.Unlock()
	n.state.Lock()
	n.state.identityFrozen = true
	n.state.Unlock()
	if n.appender.err != nil {
		return nil // what is on disk is not known for certain: no clean mark
	}
	if err := n.log.Sync(); err != nil {
		return err
	}
	id := n.identity()
	id.Clean, id.CleanEnd = true, n.log.End()
	return id.Save(n.c.FS, n.c.Dir)
}

// Close ends Run and waits for it, or frees what Open took. It is idempotent.
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

// Addr returns the address that the node listens on.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// identity returns who the node is at this moment.
func (n *Node) identity() identity.State {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.id
}

// Apply writes one unit: RESP bytes of one command or of MULTI to EXEC. It
// returns after the unit is in the log and visible to readers, with the offset
// it ends at. A unit that does not stage cleanly is an error and leaves no trace;
// an old term is ErrDemoted. It blocks while the disk is full, while fewer than
// Config.MinReplicas replicas keep up, and while a failover waits for its replica,
// and is slowed while a snapshot needs more than Config.SnapshotMemory;
// Status.Held says so. The bytes may be reused after the return. A ctx that
// ends after the hand-over does not take the unit back. Run must be running.
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

// applyWithRetry goes on with a unit that could not be taken now, until it can be:
// the disk is full, or a failover pauses the writer.
func (n *Node) applyWithRetry(ctx context.Context, t Term, unit []byte, err error) (end replog.Offset, _ error) {
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
		if end, err = n.appender.submit(ctx, t, unit, nil); err != nil && errors.Is(err, ctx.Err()) {
			return 0, fmt.Errorf("%w; %w", err, why)
		}
	}
}

// Keyspace returns the current keyspace. A full resync with the upstream puts
// another in its place.
func (n *Node) Keyspace() *keyspace.Keyspace { return n.keys.Load() }

// Published returns a channel that is closed when the next unit is published.
func (n *Node) Published() <-chan struct{} { return n.appender.published.wait() }

// Offset returns the replication offset: the bytes of stream so far.
func (n *Node) Offset() replog.Offset { return n.log.End() }

// ReplicaOf makes the node a replica of host:port, or, with an empty address, a
// master under a new replication id. The new role is kept in the directory.
// Naming the present upstream again changes nothing, except that a node that had
// stopped following (LinkStopped) asks for a full resync.
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
			return errors.New("REPLICAOF not allowed while failing over.") //nolint:staticcheck // Redis's own words
		}
		return n.appender.replicaOf(addr)
	})
	return err
}

// Snapshot writes a snapshot file of the present offset or a later one, after
// the one being written if there is one, and returns when it is on disk.
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
