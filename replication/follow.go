package replication

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
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
	link      *upstream.Link    // nil: none
	client    client            // the link as CLIENT shows it
	payload   *upstream.Payload // the snapshot that is being received; nil: none
	down      time.Time         // when the last connected link ended
	now       LinkState
	since     time.Time
	err       error
	lastIO    time.Time // of the last link
	dropped   bool      // old data freed for a full resync that is not complete
	forceFull bool      // the data differ from the upstream's: the next resync is a full one
	// Why the node stopped following; nil: it did not, or a link was up since.
	stopped error

	progressed bool // the last link brought bytes that were applied; run's goroutine only

	// failedLoads counts the full resyncs that the upstream granted and that failed since the node
	// last streamed. Only the goroutine of run uses it.
	failedLoads int
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
		case ctx.Err() != nil, isClosed(changed):
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
			pause = reconnectFirst // not after a mere connect, which can fail many times a second
		}
		pause = max(pause, resyncPause(f.failedLoads))
		if disk.IsFull(err) {
			// a snapshot that does not fit is not requested every second
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

// stopFollowing records that the node does not follow until an operator acts, and drops its
// replicas, which would look up to date and fall behind. Until a link is up again their PSYNC gets
// NOMASTERLINK with the reason.
func (f *follower) stopFollowing(err error) {
	// admit holds n.state, so that no replica is admitted after the others were dropped.
	f.n.state.Lock()
	f.mu.Lock()
	f.stopped = err
	f.mu.Unlock()
	f.n.replicas.dropAll("the node stopped following its upstream")
	f.n.state.Unlock()
	f.setState(LinkStopped, err)
}

// state returns the state of the link, and why the node stopped following and has had no link
// since; nil: it did not stop.
func (f *follower) state() (s LinkState, stopped error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.stopped
}

// cut closes the link if there is one and it matches, and reports whether it did. The node
// reconnects at once.
func (f *follower) cut(match func(client) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link == nil || !match(f.client) {
		return false
	}
	f.link.Close() //nolint:errcheck // its reader sees the end
	return true
}

// linkClient returns the link as CLIENT shows it. ok is false without a link.
func (f *follower) linkClient() (c client, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client, f.link != nil
}

// linkState returns the state of the link, and whether the old data were dropped for a full resync
// that is not complete.
func (f *follower) linkState() (s LinkState, dropped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.dropped
}

// requestFullIfStopped reports whether the node stopped following. If so, the next resync is a full
// one, because a REPLICAOF with the same address is the operator's order to begin again.
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

// runLink is one link, from its dial to its end. A change of role or term ends it.
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
	link, err := upstream.Dial(ctx, upstream.Config{
		Addr: id.Upstream, TLS: f.n.c.UpstreamTLS, Timeout: f.n.timeout(),
		User: f.n.settings.masterUser.Load(), Password: f.n.settings.masterAuth.Load(),
		ListenPort: listen, AnnounceIP: f.n.settings.announceIP.Load(),
	})
	if err != nil {
		return err
	}
	defer link.Close() //nolint:errcheck // whatever it says, the link is over
	f.n.clients.Lock()
	number := f.n.clients.nextIDLocked()
	f.n.clients.Unlock()
	f.mu.Lock()
	f.link = link
	f.client = client{
		id: number, kind: "master", opened: time.Now(),
		addr: link.RemoteAddr().String(), laddr: link.LocalAddr().String(),
	}
	force := f.forceFull
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.lastIO, f.link = link.LastIO(), nil
		f.mu.Unlock()
	}()
	return f.resync(ctx, link, id, force)
}

// psyncRequest is a PSYNC to send to the upstream.
type psyncRequest struct {
	link *upstream.Link
	id   string // empty: a full resync
	have replog.Offset
	term Term // current when it was made
}

func (q psyncRequest) send(failover bool) (upstream.Sync, error) {
	return q.link.PSync(q.id, q.have, failover)
}

// resync sends PSYNC, loads a snapshot if the upstream grants a full resync, and then follows the
// log.
func (f *follower) resync(
	ctx context.Context, link *upstream.Link, id identity.State, force bool,
) error {
	f.setState(LinkHandshake, nil)
	_, term := roleOf(id)
	q := psyncRequest{link, string(id.History.ID()), f.n.Offset(), term}
	if force {
		q.id = ""
	}
	asking := f.n.failover.asking()
	sync, err := q.send(asking)
	if asking {
		sync, err = f.n.failover.handleReply(ctx, q, sync, err)
	}
	if err != nil {
		return err
	}
	f.n.logger.Info().Str("upstream", id.Upstream).Bool("full", sync.Full).
		Str("asked_replid", q.id).Stringer("asked_after", q.have).
		Str("replid", sync.ID).Stringer("offset", sync.Offset).Msg("upstream answered the resync")
	if sync.Full {
		f.failedLoads++
		if err := f.fullResync(ctx, link, term, sync); err != nil {
			return err
		}
	} else if err := f.continuePartial(ctx, term, sync, force); err != nil {
		return err
	}
	f.failedLoads = 0
	f.n.SetComplete(true)
	f.setState(LinkConnected, nil)
	at := f.n.Offset()
	err = f.stream(ctx, link, term)
	f.progressed = f.n.Offset() > at
	return err
}

// continuePartial adopts the replication id that a partial resync names.
func (f *follower) continuePartial(
	ctx context.Context, term Term, sync upstream.Sync, force bool,
) error {
	if force {
		return errors.New("upstream continued a resync that named no id")
	}
	if sync.ID == "" {
		return nil
	}
	newID, err := identity.ParseID(sync.ID)
	if err != nil {
		return fmt.Errorf("read upstream's id: %w", err)
	}
	a := f.n.appender
	_, err = a.submit(ctx, 0, nil, func() error { return a.adoptReplID(term, newID) })
	return err
}

// fullResync receives a snapshot into a keyspace of its own while the old one serves, writes it to
// disk, and only then replaces the old data.
func (f *follower) fullResync(
	ctx context.Context, link *upstream.Link, term Term, sync upstream.Sync,
) error {
	f.setState(LinkTransfer, nil)
	newID, err := identity.ParseID(sync.ID)
	if err != nil {
		return fmt.Errorf("read upstream's id: %w", err)
	}
	if sync.Offset > replog.MaxBegin {
		return &stopError{
			fmt.Errorf("the upstream's stream is at offset %d, which is more than %d and "+
				"not to be believed; see what answers there, then send REPLICAOF with the same address",
				sync.Offset, replog.MaxBegin),
		}
	}
	began := time.Now()
	payload, err := link.Payload()
	if isContentError(err) {
		return &stopError{fmt.Errorf(
			"%w; see what answers there, then send REPLICAOF with the same address", err)}
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.payload = payload
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.payload = nil
		f.mu.Unlock()
	}()
	stop := every(ackPeriod, func() error { return link.KeepAlive() })
	defer stop()
	if f.n.settings.dropFirst.Load() {
		if err := f.dropDataset(ctx, term); err != nil {
			return err
		}
	}
	keys, err := f.receive(payload)
	if err != nil {
		return err
	}
	if err := f.installSnapshot(ctx, term, keys, newID, sync.Offset); err != nil {
		return err
	}
	f.mu.Lock()
	f.forceFull, f.dropped = false, false
	f.mu.Unlock()
	f.n.logger.Info().Str("replid", sync.ID).Stringer("offset", sync.Offset).
		Int("keys", keys.Len()).Dur("took", time.Since(began)).Msg("full resync loaded")
	stop()
	return link.Ack(sync.Offset, f.n.log.Synced())
}

// installSnapshot writes a received snapshot to disk and replaces the old data. Before the
// replacement begins, a fault removes the file. After that a fault ends the node, and the file
// stays, because the next start may load it.
func (f *follower) installSnapshot(
	ctx context.Context, term Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset,
) error {
	if isClosed(f.n.appender.stopped) {
		return f.n.appender.closedErr()
	}
	snapshot := keys.Snapshot()
	err := f.n.snaps.WriteResync(ctx, snapshot, newID, at)
	snapshot.Close()
	begun := false
	if err == nil {
		_, err = f.n.appender.submit(ctx, 0, nil, func() error {
			err := f.n.appender.installDataset(term, keys, newID, at)
			begun = f.n.appender.err != nil
			return err
		})
	}
	if err == nil {
		return nil
	}
	if begun {
		<-f.n.appender.stopped
	} else {
		f.n.snaps.RemoveResync() //nolint:errcheck // the fault above is the one to tell
	}
	return fmt.Errorf("take upstream's snapshot: %w", err)
}

// dropDataset frees the old data. From then on only a full resync can give the node data.
func (f *follower) dropDataset(ctx context.Context, term Term) error {
	f.mu.Lock()
	was := f.dropped // already dropped by an earlier link
	f.dropped = true
	f.mu.Unlock()
	a := f.n.appender
	_, err := a.submit(ctx, 0, nil, func() error { return a.dropDataset(term) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.dropped = was
		return fmt.Errorf("drop old data: %w", err)
	}
	f.forceFull = true
	return nil
}

// receive reads the snapshot. A snapshot with wrong contents would come again, so the node stops
// following. A snapshot that was cut off is retried.
func (f *follower) receive(payload *upstream.Payload) (*keyspace.Keyspace, error) {
	keys := f.n.newKeyspace()
	aux, err := rdb.Read(bufio.NewReaderSize(payload, 256<<10), keys.Loader())
	if err == nil {
		err = payload.End()
	}
	if wire := payload.WireErr(); wire != nil {
		return nil, fmt.Errorf("receive upstream's snapshot: %w", wire)
	}
	if err == nil && aux.StreamDB > 0 {
		err = fmt.Errorf("its stream is in database %d; only database 0 is supported", aux.StreamDB)
	}
	if err != nil {
		return nil, &stopError{
			fmt.Errorf("load upstream's snapshot: %w; mend the upstream's data, "+
				"then send REPLICAOF with the same address", err),
		}
	}
	if aux.Empty > 0 {
		f.n.logger.Warn().Int("keys", aux.Empty).
			Msg("the upstream's snapshot has collections without elements; they are left out")
	}
	return keys, nil
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
				fmt.Errorf("offset %d: %w; mend what writes it there, then send REPLICAOF "+
					"with the same address for a full resync", f.n.Offset(), err),
			}
		}
		if err != nil {
			return err
		}
		asked, err := f.follow(ctx, term, &b)
		var bad *badCommandError
		if errors.As(err, &bad) {
			return &stopError{err}
		}
		if err != nil {
			return err
		}
		if asked >= 0 {
			// The offset before the GETACK itself, with which a master compares.
			if err := link.Ack(asked, f.n.log.Synced()); err != nil {
				return err
			}
		}
	}
}

// follow submits a batch to the appender. It waits while the disk is full or a snapshot keeps too
// much memory. Acknowledgements continue meanwhile.
func (f *follower) follow(
	ctx context.Context, term Term, b *upstream.Batch,
) (asked replog.Offset, err error) {
	if err := f.n.snaps.Throttle(ctx); err != nil {
		return -1, err
	}
	release := func() {}
	defer func() { release() }()
	for pause := fullRetryMin; ; pause = min(2*pause, fullRetryMax) {
		_, err = f.n.appender.submit(ctx, 0, nil, func() (err error) {
			asked, err = f.n.appender.follow(term, b)
			return err
		})
		if !isFull(err) {
			return asked, err
		}
		if pause == fullRetryMin {
			release = f.n.stall(err.Error())
		}
		waitFor(ctx, nil, time.After(pause))
	}
}

// isContentError reports whether err is a fault of the bytes that the upstream sends.
func isContentError(err error) bool {
	var content *upstream.ContentError
	return errors.As(err, &content)
}
