package replication

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/replog"
)

const (
	quorumAgain = 10 * time.Millisecond  // how long a quorum that was found counts
	quorumTick  = 100 * time.Millisecond // how often to look again without an acknowledgement
	quorumMarks = 32                     // marks within the allowed lag
)

// quorum holds Apply back until enough replicas have the data. A replica counts
// if it acknowledged anything within the allowed lag, and everything that was
// written longer ago than that.
type quorum struct {
	n         *Node
	goodUntil atomic.Int64 // unix nanoseconds

	mu     sync.Mutex
	marks  []offsetMark // oldest first
	newest offsetMark   // of the last unit
}

// offsetMark says where the stream ended at a moment.
type offsetMark struct {
	at  time.Time
	end replog.Offset
}

func (q *quorum) lag() time.Duration {
	return time.Duration(q.n.settings.minLagMS.Load()) * time.Millisecond
}

// note is called by the appender after each unit.
func (q *quorum) note(end replog.Offset) {
	if q.n.settings.minReplicas.Load() == 0 {
		return
	}
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest = offsetMark{now, end}
	if last := len(q.marks) - 1; last < 0 || now.Sub(q.marks[last].at) >= q.lag()/quorumMarks {
		q.marks = append(q.marks, offsetMark{now, end})
		q.dueLocked(now)
	}
}

// forget is called when the stream goes on at another offset, under another history.
func (q *quorum) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.marks, q.newest = nil, offsetMark{}
	q.goodUntil.Store(0)
}

// dueLocked is where the stream ended when the allowed lag began; marks before
// that one are dropped.
func (q *quorum) dueLocked(now time.Time) replog.Offset {
	since := now.Add(-q.lag())
	if !q.newest.at.After(since) {
		q.marks = append(q.marks[:0], q.newest) // it is the one before the next unit
		return q.newest.end
	}
	for len(q.marks) > 1 && !q.marks[1].at.After(since) {
		q.marks = q.marks[1:]
	}
	if len(q.marks) == 0 || q.marks[0].at.After(since) {
		return 0
	}
	return q.marks[0].end
}

// good counts the replicas that are near enough.
func (q *quorum) good() (count int, more <-chan struct{}) {
	now := time.Now()
	q.mu.Lock()
	due := q.dueLocked(now)
	q.mu.Unlock()
	return q.n.replicas.keepingUp(due, now.Add(-q.lag()))
}

// await blocks until there are enough of them. A node that is not complete yet
// has no replicas and does not wait for any.
func (q *quorum) await(ctx context.Context, t Term) error {
	want := q.n.settings.minReplicas.Load()
	if want == 0 || time.Now().UnixNano() < q.goodUntil.Load() || !q.n.isComplete() {
		return nil
	}
	var tick *time.Ticker
	for {
		count, more := q.good()
		want = q.n.settings.minReplicas.Load()
		if int64(count) >= want {
			q.goodUntil.Store(time.Now().Add(quorumAgain).UnixNano())
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(quorumTick)
			defer tick.Stop()
			defer q.n.hold(fmt.Sprintf("%d of %d replicas have the data within %v", count, want, q.lag()))()
		}
		changed := q.n.RoleChanged()
		if role, term := q.n.Role(); role != Master || term != t {
			return ErrDemoted
		}
		select {
		case <-more:
		case <-changed:
		case <-tick.C:
		case <-q.n.appender.stopped:
			return q.n.appender.closedErr()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holds are the reasons why Apply waits, newest last. There may be several at once, and the end of
// one leaves the others.
type holds struct {
	mu      sync.Mutex
	reasons []*hold
	logged  time.Time // when one began that was logged
}

// holdLogEvery bounds how often holds are logged that begin and end again and again, such as on a
// disk that is full but for a little.
const holdLogEvery = time.Second

type hold struct {
	reason string
	since  time.Time
}

// newest returns the reason to show; it is zero while Apply does not wait.
func (h *holds) newest() hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reasons) == 0 {
		return hold{}
	}
	return *h.reasons[len(h.reasons)-1]
}

// Held returns why Apply waits or is slowed, and since when; both are zero while it is not.
func (n *Node) Held() (reason string, since time.Time) {
	h := n.held.newest()
	return h.reason, h.since
}

// hold notes that Apply waits, and why; release notes that it goes on.
func (n *Node) hold(reason string) (release func()) {
	h := &hold{reason, time.Now()}
	n.held.mu.Lock()
	n.held.reasons = append(n.held.reasons, h)
	log := h.since.Sub(n.held.logged) >= holdLogEvery
	if log {
		n.held.logged = h.since
	}
	n.held.mu.Unlock()
	event := n.logger.Warn
	if !log {
		event = n.logger.Debug
	}
	event().Str("why", reason).Stringer("offset", n.Offset()).Msg("writing is held back")
	return func() {
		n.held.mu.Lock()
		n.held.reasons = slices.DeleteFunc(n.held.reasons, func(o *hold) bool { return o == h })
		n.held.mu.Unlock()
		if log {
			n.logger.Info().Str("why", reason).Dur("after", time.Since(h.since)).Msg("writing goes on")
		}
	}
}

func (n *Node) isComplete() bool {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.complete
}
