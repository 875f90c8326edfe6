package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/replog"
)

const (
	// quorumValidFor is how long the result that enough replicas keep up is valid.
	quorumValidFor = 10 * time.Millisecond
	quorumTick     = 100 * time.Millisecond // between two checks while no replica acknowledges
	quorumSamples  = 32                     // offsetSamples within the allowed lag
)

// quorum makes Apply wait until enough replicas keep up. A replica keeps up if it sent an
// acknowledgement within the allowed lag, and has acknowledged everything that is older than the
// lag.
type quorum struct {
	settings  *Settings
	replicas  *replicas
	goodUntil atomic.Int64 // unix nanoseconds

	mu      sync.Mutex
	samples []offsetSample // oldest first
	newest  offsetSample   // of the last unit
}

// offsetSample is the end of the log at a moment.
type offsetSample struct {
	at  time.Time
	end replog.Offset
}

func (q *quorum) lag() time.Duration {
	return time.Duration(q.settings.minLagMS.Load()) * time.Millisecond
}

// record is called by the appender after each unit.
func (q *quorum) record(end replog.Offset) {
	if q.settings.minReplicas.Load() == 0 {
		return
	}
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest = offsetSample{now, end}
	last := len(q.samples) - 1
	if last < 0 || now.Sub(q.samples[last].at) >= q.lag()/quorumSamples {
		q.samples = append(q.samples, offsetSample{now, end})
		q.dueOffsetLocked(now)
	}
}

// reset is called when a full resync replaced the log.
func (q *quorum) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.samples, q.newest = nil, offsetSample{}
	q.goodUntil.Store(0)
}

// dueOffsetLocked returns the offset at which the log ended when the allowed lag began. It removes
// older samples.
func (q *quorum) dueOffsetLocked(now time.Time) replog.Offset {
	since := now.Add(-q.lag())
	if !q.newest.at.After(since) {
		q.samples = append(q.samples[:0], q.newest) // the newest unit is older than the lag
		return q.newest.end
	}
	for len(q.samples) > 1 && !q.samples[1].at.After(since) {
		q.samples = q.samples[1:]
	}
	if len(q.samples) == 0 || q.samples[0].at.After(since) {
		return 0
	}
	return q.samples[0].end
}

// count returns the number of replicas that keep up. more is closed at the next acknowledgement.
func (q *quorum) count() (count int, more <-chan struct{}) {
	now := time.Now()
	q.mu.Lock()
	due := q.dueOffsetLocked(now)
	q.mu.Unlock()
	return q.replicas.keepingUp(due, now.Add(-q.lag()))
}

// awaitQuorum waits until enough replicas keep up, or returns ErrDemoted after a change of role or
// term. A node whose data are not complete has no replicas, and does not wait.
func (n *Node) awaitQuorum(ctx context.Context, t Term) error {
	q := n.quorum
	want := n.settings.minReplicas.Load()
	if want == 0 || time.Now().UnixNano() < q.goodUntil.Load() || !n.isComplete() {
		return nil
	}
	var tick *time.Ticker
	for {
		count, more := q.count()
		want = n.settings.minReplicas.Load()
		if int64(count) >= want {
			q.goodUntil.Store(time.Now().Add(quorumValidFor).UnixNano())
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(quorumTick)
			defer tick.Stop()
			defer n.stall(fmt.Sprintf("%d of %d replicas have the data within %v",
				count, want, q.lag()))()
		}
		changed := n.RoleChanged()
		if role, term := n.Role(); role != Master || term != t {
			return ErrDemoted
		}
		select {
		case <-more:
		case <-changed:
		case <-tick.C:
		case <-n.appender.stopped:
			return n.appender.closedErr()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
