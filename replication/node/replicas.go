package node

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/notify"
	"rowfall/replication/progress"
	"rowfall/replication/replog"
)

// replicas is the set of connections that follow the node.
type replicas struct {
	logger zerolog.Logger
	acked  notify.Signal              // of any replica
	direct atomic.Pointer[[]*replica] // the replicas to which the appender sends; never nil

	sync.Mutex
	all  map[*replica]struct{}
	left map[*replica]struct{} // connection closed, log still pinned until they reconnect
}

func newReplicas(logger zerolog.Logger) *replicas {
	rs := &replicas{
		logger: logger, all: map[*replica]struct{}{}, left: map[*replica]struct{}{},
	}
	rs.direct.Store(&[]*replica{})
	return rs
}

func (rs *replicas) add(r *replica) {
	rs.Lock()
	defer rs.Unlock()
	rs.all[r] = struct{}{}
}

func (rs *replicas) remove(r *replica) {
	rs.Lock()
	defer rs.Unlock()
	delete(rs.all, r)
	rs.stopDirectLocked(r)
}

// count returns the number of replicas, without tools that only download a snapshot.
func (rs *replicas) count() int {
	rs.Lock()
	defer rs.Unlock()
	count := 0
	for r := range rs.all {
		if !r.conn.Announced.RDBOnly {
			count++
		}
	}
	return count
}

// disconnectAll closes every replica's connection. The replicas reconnect and send PSYNC.
func (rs *replicas) disconnectAll(why string) {
	rs.Lock()
	defer rs.Unlock()
	for r := range rs.all {
		rs.logger.Info().Str("replica", r.addr).Str("why", why).Msg("replica disconnected")
		r.conn.cut() // its goroutines end, and log the end
		r.cancel()
	}
}

// notifyAcked wakes the goroutines that wait for an acknowledgement.
func (rs *replicas) notifyAcked() { rs.acked.Notify() }

// reached counts the online replicas that applied everything up to at. more is closed at the next
// acknowledgement.
func (rs *replicas) reached(at replog.Offset) (count int, more <-chan struct{}) {
	return rs.countIf(func(_ *replica, p progress.Status) bool { return p.HasApplied(at) })
}

// durable counts the replicas that have everything up to at on disk, as reached does.
func (rs *replicas) durable(at replog.Offset) (count int, more <-chan struct{}) {
	return rs.countIf(func(_ *replica, p progress.Status) bool { return p.HasSynced(at) })
}

// keepingUp counts the replicas that applied everything up to at, and acknowledged anything at
// since or later, as reached does.
func (rs *replicas) keepingUp(at replog.Offset, since time.Time) (count int, more <-chan struct{}) {
	return rs.countIf(func(_ *replica, p progress.Status) bool { return p.KeepsUp(at, since) })
}

func (rs *replicas) countIf(
	counts func(*replica, progress.Status) bool,
) (count int, more <-chan struct{}) {
	more = rs.acked.Next() // before the count, so that no acknowledgement is missed
	rs.Lock()
	defer rs.Unlock()
	for r := range rs.all {
		if counts(r, r.progress.Status()) {
			count++
		}
	}
	return count, more
}

func (rs *replicas) status() []ReplicaStatus {
	rs.Lock()
	defer rs.Unlock()
	list := make([]ReplicaStatus, 0, len(rs.all))
	now := time.Now()
	for r := range rs.all {
		if !r.conn.Announced.RDBOnly {
			list = append(list, r.status(now))
		}
	}
	slices.SortFunc(list, func(a, b ReplicaStatus) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}
