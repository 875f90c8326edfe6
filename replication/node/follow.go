package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/notify"
	"rowfall/replication/replog"
	"rowfall/replication/upstream"
)

const (
	reconnectFirst = 100 * time.Millisecond
	reconnectMost  = time.Second
	ackPeriod      = time.Second
	fullDiskPause  = 10 * time.Second

	resyncPauseFirst = time.Second // after one failed full resync
	resyncPauseMost  = time.Minute
)

// follower maintains a replica's link to its upstream.
type follower struct {
	n *Node

	mu        sync.Mutex
	link      *upstream.Link    // nil: no link is open
	info      LinkInfo          // of link
	payload   *upstream.Payload // the snapshot that is being received, or nil
	down      time.Time         // when the last connected link ended
	now       LinkState
	since     time.Time
	err       error
	lastIO    time.Time // of the last link
	missing   bool      // the data were freed or not loaded, until a full resync
	forceFull bool      // the data differ from the upstream's: the next resync is a full one
	// why the node stopped following; nil: it did not stop, or a link was up since
	stopped error

	// Only the goroutine of run uses these.
	progressed  bool // bytes of the last link were applied
	failedLoads int  // granted full resyncs that failed since the node last streamed
}

// stopError is an error that would occur again on a new link, so the node stops following.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func (e *stopError) Unwrap() error { return e.err }

// run follows the upstream while the node is a replica, until ctx ends.
func (f *follower) run(ctx context.Context) {
	pause := reconnectFirst
	for ctx.Err() == nil {
		changed := f.n.RoleChanged()
		id := f.n.identity()
		if role, _ := roleOf(id); role == Master {
			f.setState(LinkIdle, nil)
			waitFor(ctx, changed, nil)
			continue
		}
		err := f.runLink(ctx, id, changed)
		var stop *stopError
		switch {
		case ctx.Err() != nil, notify.IsClosed(changed):
			f.setState(LinkIdle, nil)
			pause, f.failedLoads = reconnectFirst, 0
			continue
		case errors.As(err, &stop):
			f.n.logger.Error().Err(err).Str("upstream", id.Upstream).
				Stringer("offset", f.n.Offset()).Msg("node stopped following its upstream")
			f.stopFollowing(err)
			waitFor(ctx, changed, nil)
			pause, f.failedLoads = reconnectFirst, 0
			continue
		}
		if f.progressed {
			pause = reconnectFirst // a link that only connects may fail many times a second
		}
		pause = max(pause, resyncPause(f.failedLoads))
		if disk.IsFull(err) {
			// a snapshot for which the disk has no room is not requested every second
			pause = max(pause, fullDiskPause)
		}
		f.setState(LinkIdle, err)
		f.n.logger.Warn().Err(err).Str("upstream", id.Upstream).
			Stringer("offset", f.n.Offset()).Dur("retry_in", pause).Msg("upstream link ended")
		waitFor(ctx, changed, time.After(pause))
		pause = min(2*pause, reconnectMost)
	}
}

// resyncPause is the pause after a number of failed full resyncs. Each of them makes the upstream
// fork and write all of its data.
func resyncPause(failed int) time.Duration {
	if failed == 0 {
		return 0
	}
	return min(resyncPauseFirst<<min(failed-1, 16), resyncPauseMost)
}

// setState records the state of the link. updateReadGate runs after f.mu is unlocked, because
// deferred calls run in reverse order.
func (f *follower) setState(s LinkState, err error) {
	defer f.n.updateReadGate()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != s {
		if f.now == LinkConnected {
			f.down = time.Now()
		}
		f.now, f.since = s, time.Now()
	}
	if err != nil || s == LinkConnected {
		f.err = err
	}
	if s == LinkConnected {
		f.stopped = nil
	}
}

// stopFollowing records that the node does not follow until an operator acts, and disconnects its
// replicas, which would look up to date and fall behind. Until a link is up again, their PSYNC gets
// NOMASTERLINK with the reason.
func (f *follower) stopFollowing(err error) {
	// admit holds n.state, so that no replica is admitted after the others were disconnected.
	f.n.state.Lock()
	f.mu.Lock()
	f.stopped = err
	f.mu.Unlock()
	f.n.replicas.disconnectAll("the node stopped following its upstream")
	f.n.state.Unlock()
	f.setState(LinkStopped, err)
}

// state returns the state of the link, and why the node stopped following; stopped is nil if the
// node did not stop, or if a link was up since.
func (f *follower) state() (s LinkState, stopped error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.stopped
}

// LinkInfo describes the open link to the upstream, which CLIENT shows as a connection.
type LinkInfo struct {
	ID              int64  // see Node.NextConnectionID
	LocalAddr, Addr string // of the node and of the upstream, host:port
	Opened          time.Time
}

// Link describes the link to the upstream. ok is false without a link.
func (n *Node) Link() (link LinkInfo, ok bool) {
	f := n.upstream
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info, f.link != nil
}

// CutLink closes the link to the upstream if match returns true for it, and reports whether a link
// was closed. The node reconnects at once.
func (n *Node) CutLink(match func(LinkInfo) bool) bool {
	f := n.upstream
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link == nil || !match(f.info) {
		return false
	}
	f.link.Close() //nolint:errcheck // the goroutine that reads from the link gets an error
	return true
}

// linkState returns the state of the link, and whether the data are missing until a full resync.
func (f *follower) linkState() (s LinkState, missing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.missing
}

// startWithoutData records that the node starts without data, until a full resync. Called before
// run.
func (f *follower) startWithoutData() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missing, f.forceFull = true, true
}

// requestFullIfStopped reports whether the node stopped following. If so, the next resync is a full
// one, because an operator sends REPLICAOF with the same address to begin again.
func (f *follower) requestFullIfStopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == LinkStopped {
		f.forceFull = true
	}
	return f.now == LinkStopped
}

// promoted clears forceFull: as a master the node's data are authoritative.
func (f *follower) promoted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forceFull, f.stopped = false, nil
}

func (f *follower) status() UpstreamStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := UpstreamStatus{State: f.now, Since: f.since, Down: f.down, LastIO: f.lastIO}
	if f.payload != nil {
		st.Received, st.Total = f.payload.Progress()
	}
	if f.link != nil {
		st.LastIO = f.link.LastIO()
	}
	if f.err != nil {
		st.Err = f.err.Error()
	}
	if f.stopped != nil {
		st.Stopped = f.stopped.Error()
	}
	return st
}

// runLink opens one link and follows the upstream until the link ends. A change of role or term
// ends the link.
func (f *follower) runLink(ctx context.Context, id identity.State, changed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		defer cancel()
		waitFor(ctx, changed, nil)
	})
	f.progressed = false
	f.setState(LinkConnecting, nil)
	_, port, _ := net.SplitHostPort(f.n.Addr())
	listen, _ := strconv.Atoi(port)
	if announced := int(f.n.settings.announcePort.Load()); announced != 0 {
		listen = announced
	}
	password, err := f.password()
	if err != nil {
		return err
	}
	link, err := upstream.Dial(ctx, upstream.Config{
		Addr: id.Upstream, TLS: f.n.c.UpstreamTLS, Timeout: f.n.settings.Timeout(),
		User: f.n.settings.masterUser.Load(), Password: password,
		ListenPort: listen, AnnounceIP: f.n.settings.announceIP.Load(),
	})
	if err != nil {
		return err
	}
	defer link.Close() //nolint:errcheck // an error changes nothing: the link is not used any more
	info := LinkInfo{
		ID: f.n.NextConnectionID(), Opened: time.Now(),
		LocalAddr: link.LocalAddr().String(), Addr: link.RemoteAddr().String(),
	}
	f.mu.Lock()
	f.link, f.info = link, info
	force := f.forceFull
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.lastIO, f.link = link.LastIO(), nil
		f.mu.Unlock()
	}()
	return f.resync(ctx, link, id, force)
}

// password returns the password for the next link.
func (f *follower) password() (string, error) {
	set := f.n.settings.masterAuth.Load()
	if f.n.c.ReadMasterPassword == nil || set != f.n.c.MasterPassword {
		return set, nil
	}
	password, err := f.n.c.ReadMasterPassword()
	if err != nil {
		return "", fmt.Errorf("read the password for the upstream: %w", err)
	}
	return password, nil
}

// stream follows the upstream's log until the link ends. The applied offset is acknowledged every
// second, and at once after a GETACK.
func (f *follower) stream(ctx context.Context, link *upstream.Link, term Term) error {
	stop := every(ackPeriod, func() error {
		return link.Ack(f.n.Offset(), f.n.log.Synced())
	})
	defer stop()
	var b upstream.Batch
	for {
		err := link.Next(&b)
		if isContentError(err) {
			return &stopError{
				fmt.Errorf("offset %d: %w; correct the program that writes it there, then send "+
					"REPLICAOF with the same address for a full resync", f.n.Offset(), err),
			}
		}
		if err != nil {
			return err
		}
		ack, err := f.follow(ctx, term, &b)
		var bad *badCommandError
		if errors.As(err, &bad) {
			return &stopError{err}
		}
		if err != nil {
			return err
		}
		if ack >= 0 {
			// A master compares the acknowledged offset with the offset before its GETACK.
			if err := link.Ack(ack, f.n.log.Synced()); err != nil {
				return err
			}
		}
	}
}

// follow submits a batch to the appender. It waits while the disk is full, and is slowed while a
// snapshot keeps too much memory. Acknowledgements continue meanwhile. ack is that of
// appender.follow.
func (f *follower) follow(
	ctx context.Context, term Term, b *upstream.Batch,
) (ack replog.Offset, err error) {
	if err := f.n.snaps.Throttle(ctx); err != nil {
		return -1, err
	}
	release := func() {}
	defer func() { release() }()
	for pause := fullRetryMin; ; pause = min(2*pause, fullRetryMax) {
		ack, err = f.n.appender.submitBatch(ctx, term, b)
		if !isFull(err) {
			return ack, err
		}
		if pause == fullRetryMin {
			release = f.n.stall(err.Error())
		}
		waitFor(ctx, nil, time.After(pause))
	}
}

// isContentError reports whether err is a fault in the bytes that the upstream sends.
func isContentError(err error) bool {
	var content *upstream.ContentError
	return errors.As(err, &content)
}
