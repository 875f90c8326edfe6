package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rowfall/replication/upstream"
)

// asking reports whether PSYNC must have FAILOVER, by which the upstream takes over.
func (f *failover) asking() bool { return f.now() == failoverAsking }

// handleReply ends the hand-over according to the upstream's reply to PSYNC ... FAILOVER, and
// returns the reply by which the node follows. If the upstream cannot decide yet, the hand-over
// stays open, and the next link sends PSYNC ... FAILOVER again.
func (f *failover) handleReply(
	ctx context.Context, q psyncRequest, sync upstream.Sync, err error,
) (upstream.Sync, error) {
	var rejected *upstream.ReplyError
	switch {
	case err == nil:
		return sync, f.finishIfAsking(ctx, q, "the replica took over")
	case !errors.As(err, &rejected), isLater(rejected):
		return sync, err
	case strings.Contains(rejected.Text, "can't be sent to a master"):
		if fault := f.finishIfAsking(ctx, q, "the replica is the master already"); fault != nil {
			return sync, fault
		}
		return sync, err
	case strings.Contains(rejected.Text, "must match my replid"):
		return f.resolveForeignID(ctx, q, err)
	}
	cancel := func(a *appender) error { return a.cancelHandOver(rejected.Text) }
	if fault := f.onAppender(ctx, q, cancel); fault != nil {
		return sync, fmt.Errorf("%w; %w", err, fault)
	}
	return sync, err
}

// isLater reports whether a retry may succeed after a rejection.
func isLater(r *upstream.ReplyError) bool {
	return strings.HasPrefix(r.Text, "-NOMASTERLINK") || strings.HasPrefix(r.Text, "-LOADING") ||
		strings.HasPrefix(r.Text, "-MASTERDOWN")
}

// resolveForeignID handles a replica that has another replication id now. The replica may have
// taken over without a reply, and handed the role on: then a master exists, whose log continues
// this node's. If PSYNC without FAILOVER does not show that, the replica may follow a foreign
// master, and the node does nothing: as a master it could be the second one, and as a replica it
// could replace the only copy of the data.
func (f *failover) resolveForeignID(
	ctx context.Context, q psyncRequest, rejected error,
) (upstream.Sync, error) {
	sync, err := q.send(false)
	switch {
	case err != nil:
		return sync, fmt.Errorf("%w; and without FAILOVER: %w", rejected, err)
	case sync.Full:
		return sync, &stopError{fmt.Errorf("%w; it sends a full resync of id %s, so it is not "+
			"known whether it took over first; send FAILOVER ABORT to make this node the master "+
			"again, and then REPLICAOF if there is another master", rejected, sync.ID)}
	case sync.ID == "" || strings.EqualFold(sync.ID, q.id):
		return sync, rejected
	}
	return sync, f.finishIfAsking(ctx, q, "the replica took over, and follows another master now")
}

// finishIfAsking ends the hand-over on the appender unless ABORT or a newer term came first.
func (f *failover) finishIfAsking(ctx context.Context, q psyncRequest, how string) error {
	return f.onAppender(ctx, q, func(*appender) error { f.finish(how); return nil })
}

// onAppender runs do on the appender unless ABORT or a newer term came first.
func (f *failover) onAppender(
	ctx context.Context, q psyncRequest, do func(a *appender) error,
) error {
	a := f.n.appender
	return a.do(ctx, func() error {
		if _, term := f.n.Role(); !f.asking() || q.term != term {
			return errNoFailover
		}
		return do(a)
	})
}
