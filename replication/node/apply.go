package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/replication/replog"
)

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
	if err := n.awaitQuorum(ctx, t); err != nil {
		return 0, err
	}
	if err := n.snaps.Throttle(ctx); err != nil {
		return 0, err
	}
	end, err := n.appender.submitUnit(ctx, t, unit)
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
		end, err = n.appender.submitUnit(ctx, t, unit)
		if err != nil && errors.Is(err, ctx.Err()) {
			return 0, fmt.Errorf("%w; %w", err, why)
		}
	}
}
