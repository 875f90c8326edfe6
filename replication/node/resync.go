package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
	"rowfall/replication/upstream"
)

// psyncRequest is a PSYNC to send to the upstream.
type psyncRequest struct {
	link *upstream.Link
	id   string        // replication id; empty: request a full resync
	have replog.Offset // the end of the node's log
	term Term          // of the node when the request was made
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
		Str("replid", sync.ID).Stringer("offset", sync.Offset).Msg("upstream replied to PSYNC")
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

// continuePartial adopts the replication id in the reply that grants a partial resync.
func (f *follower) continuePartial(
	ctx context.Context, term Term, sync upstream.Sync, force bool,
) error {
	if force {
		return errors.New("upstream granted a partial resync; a full one was requested")
	}
	if sync.ID == "" {
		return nil
	}
	newID, err := identity.ParseID(sync.ID)
	if err != nil {
		return fmt.Errorf("parse upstream's replication id: %w", err)
	}
	a := f.n.appender
	return a.do(ctx, func() error { return a.adoptReplID(term, newID) })
}

// fullResync receives a snapshot into a new keyspace while the old one serves clients, writes the
// snapshot to disk, and only then replaces the old data.
func (f *follower) fullResync(
	ctx context.Context, link *upstream.Link, term Term, sync upstream.Sync,
) error {
	f.setState(LinkTransfer, nil)
	newID, err := identity.ParseID(sync.ID)
	if err != nil {
		return fmt.Errorf("parse upstream's replication id: %w", err)
	}
	if sync.Offset > replog.MaxBegin {
		return &stopError{
			fmt.Errorf("the upstream's offset %d is invalid: it is more than %d; check which "+
				"server answers at this address, then send REPLICAOF with the same address",
				sync.Offset, replog.MaxBegin),
		}
	}
	began := time.Now()
	payload, err := link.Payload()
	if isContentError(err) {
		return &stopError{fmt.Errorf("%w; check which server answers at this address, then send "+
			"REPLICAOF with the same address", err)}
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
	if f.n.settings.freeFirst.Load() {
		if err := f.freeDataset(ctx, term); err != nil {
			return err
		}
	}
	keys, err := f.receive(payload)
	if err != nil {
		return err
	}
	if err := f.n.installDataset(ctx, resyncDataset(term, keys, newID, sync.Offset)); err != nil {
		return fmt.Errorf("install upstream's snapshot: %w", err)
	}
	f.mu.Lock()
	f.forceFull, f.missing = false, false
	f.mu.Unlock()
	f.n.logger.Info().Str("replid", sync.ID).Stringer("offset", sync.Offset).
		Int("keys", keys.Len()).Dur("took", time.Since(began)).Msg("full resync loaded")
	stop()
	return link.Ack(sync.Offset, f.n.log.Synced())
}

// resyncDataset returns the data of a full resync.
func resyncDataset(
	term Term, keys *keyspace.Keyspace, id identity.ID, at replog.Offset,
) *dataset {
	return &dataset{
		keys: keys, id: id, at: at, role: Replica, term: term,
		why: "the upstream sent a full resync",
	}
}

// freeDataset frees the old data. The node has no data until a full resync or a restart.
func (f *follower) freeDataset(ctx context.Context, term Term) error {
	f.mu.Lock()
	was := f.missing // true: the data were freed for an earlier link
	f.missing = true
	f.mu.Unlock()
	a := f.n.appender
	err := a.do(ctx, func() error { return a.freeDataset(term) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.missing = was
		return fmt.Errorf("free old data: %w", err)
	}
	f.forceFull = true
	return nil
}

// receive reads the snapshot. The upstream would send invalid contents again, so the node stops
// following after them. A snapshot that was cut off is requested again.
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
		err = fmt.Errorf("its log continues in database %d, and only database 0 is supported",
			aux.StreamDB)
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
