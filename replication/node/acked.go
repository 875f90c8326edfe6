package node

import (
	"context"
	"time"

	"rowfall/replication/replog"
)

// syncCheck is the interval at which WaitDurable checks whether the log is durable.
const syncCheck = 10 * time.Millisecond

// WaitAcked waits until want replicas have acknowledged everything written so far, or until ctx
// ends. It returns the number of replicas that have acknowledged everything.
func (n *Node) WaitAcked(ctx context.Context, want int) int {
	at := replog.Offset(n.appender.written.Load())
	count, more := n.replicas.reached(at)
	if count >= want || ctx.Err() != nil {
		return count
	}
	if err := n.appender.do(ctx, n.appender.getAck); err != nil {
		return count
	}
	for {
		select {
		case <-more:
		case <-ctx.Done():
		}
		count, more = n.replicas.reached(at)
		if count >= want || ctx.Err() != nil {
			return count
		}
	}
}

// WaitDurable waits like WaitAcked, but until everything written so far is durable in the log
// (local is 1) and on want replicas. It returns 1 or 0 for the log, and the number of replicas.
func (n *Node) WaitDurable(ctx context.Context, local, want int) (here, there int) {
	at := replog.Offset(n.appender.written.Load())
	check := func() (bool, <-chan struct{}) {
		if here = 0; n.log.Synced() >= at {
			here = 1
		}
		var more <-chan struct{}
		there, more = n.replicas.durable(at)
		return here >= local && there >= want || ctx.Err() != nil, more
	}
	done, more := check()
	if !done && there < want {
		if err := n.appender.do(ctx, n.appender.getAck); err != nil {
			return here, there
		}
	}
	tick := time.NewTicker(syncCheck)
	defer tick.Stop()
	for !done {
		select {
		case <-more:
		case <-tick.C:
		case <-ctx.Done():
		}
		done, more = check()
	}
	return here, there
}
