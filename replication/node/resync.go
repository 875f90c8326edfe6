package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
	"rowfall/replication/upstream"
)

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
	return a.do(ctx, func() error { return a.adoptReplID(term, newID) })
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
				"not to be believed; see what answers there, then send REPLICAOF "+
				"with the same address",
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
	f.forceFull, f.missing = false, false
	f.mu.Unlock()
	f.n.logger.Info().Str("replid", sync.ID).Stringer("offset", sync.Offset).
		Int("keys", keys.Len()).Dur("took", time.Since(began)).Msg("full resync loaded")
	stop()
	return link.Ack(sync.Offset, f.n.log.Synced())
}

// installSnapshot writes a received snapshot to disk and replaces the old data. If the volume is
// full, it drops log that a restart does not need, and writes the snapshot again. Before the
// replacement begins, a fault removes the file. After that a fault ends the node, and the file
// stays, because the next start may load it.
func (f *follower) installSnapshot(
	ctx context.Context, term Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset,
) error {
	if isClosed(f.n.appender.stopped) {
		return f.n.appender.closedErr()
	}
	write := func() error {
		snapshot := keys.Snapshot()
		defer snapshot.Close()
		return f.n.snaps.WriteResync(ctx, snapshot, newID, at)
	}
	err := write()
	if disk.IsFull(err) && f.dropUnneededLog(ctx) {
		err = write()
	}
	begun := false
	if err == nil {
		err = f.n.appender.do(ctx, func() error {
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

// dropUnneededLog drops all log that a restart does not need, and reports whether there was any.
// Only replicas need it, and they resync fully anyway when the upstream's data replace the old
// data.
func (f *follower) dropUnneededLog(ctx context.Context) (dropped bool) {
	a := f.n.appender
	err := a.do(ctx, func() error {
		for a.room.dropOldest() {
			dropped = true
		}
		return nil
	})
	return err == nil && dropped
}

// dropDataset frees the old data. From then on only a full resync can give the node data.
func (f *follower) dropDataset(ctx context.Context, term Term) error {
	f.mu.Lock()
	was := f.missing // already freed for an earlier link
	f.missing = true
	f.mu.Unlock()
	a := f.n.appender
	err := a.do(ctx, func() error { return a.dropDataset(term) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.missing = was
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
			fmt.Errorf("load upstream's snapshot: %w; correct the upstream's data, "+
				"then send REPLICAOF with the same address", err),
		}
	}
	if aux.Empty > 0 {
		f.n.logger.Warn().Int("keys", aux.Empty).
			Msg("the upstream's snapshot has collections without elements; they are skipped")
	}
	return keys, nil
}
