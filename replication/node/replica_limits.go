package node

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"rowfall/replication/replog"
	"rowfall/replication/syncthrottle"
)

// leastSyncLog is the least default, in bytes, of the log that one full resync may keep. A server
// replays so much in seconds.
const leastSyncLog = 64 << 20

// syncLogLimit returns how many bytes of log one full resync may keep; bounded is false if there is
// no limit. The limit is the setting. If that is 0, the limit is the maximum of keep (negative: no
// limit), twice the data, and leastSyncLog: while a snapshot is sent and loaded, about that much
// may change.
func syncLogLimit(set, keep, data int64) (limit int64, bounded bool) {
	switch {
	case set > 0:
		return set, true
	case keep < 0:
		return 0, false
	}
	return max(keep, 2*data, leastSyncLog), true
}

// syncLogLimit returns the current limit.
func (n *Node) syncLogLimit() (limit int64, bounded bool) {
	data := n.Keyspace().Memory().Live
	return syncLogLimit(n.settings.syncLog.Load(), n.settings.keep.Load(), data)
}

// enforceLimits disconnects replicas that exceed a limit. The appender calls it once a second. end
// is the log's end. limit and bounded are those of syncLogLimit.
func (rs *replicas) enforceLimits(now time.Time, end replog.Offset, limit int64, bounded bool) {
	rs.Lock()
	defer rs.Unlock()
	for r := range rs.all {
		if why := r.overTime(now); why != "" {
			r.disconnect(why)
		}
	}
	for _, r := range rs.pinningLocked() {
		if kept := int64(end - r.needs()); bounded && kept > limit {
			r.disconnect(fmt.Sprintf("its full resync needs %d bytes of the log, and %d are "+
				"allowed; raise full-sync-log, or make the replica load faster", kept, limit))
		}
	}
}

// overTime returns why a replica must be disconnected now; empty: it stays connected. While a
// snapshot is sent, the replica is not expected to send anything. While it loads, its empty lines
// show only that it lives, and not its progress. So the time of the load is limited by the
// snapshot's size.
func (r *replica) overTime(now time.Time) string {
	n, p := r.n, r.progress.Status()
	if r.legacy || p.State == ReplicaWaiting || p.State == ReplicaSending {
		return ""
	}
	if silent := now.Sub(p.HeardAt); silent > n.settings.Timeout() {
		return fmt.Sprintf("nothing was received for %v, longer than repl-timeout",
			silent.Round(time.Millisecond))
	}
	if p.State != ReplicaLoading {
		return ""
	}
	most := syncthrottle.LoadTime(p.SnapshotSent, n.settings.minRate.Load(), n.settings.slack())
	if took := now.Sub(p.LoadingSince); took > most {
		return fmt.Sprintf(
			"it did not acknowledge a snapshot of %d bytes within %v; if it loads so "+
				"slowly, lower full-sync-min-rate or raise full-sync-slack",
			p.SnapshotSent,
			most.Round(time.Millisecond),
		)
	}
	return ""
}

// disconnect closes the replica's connection and releases the log that was kept for it. Its
// goroutines then end.
func (r *replica) disconnect(why string) {
	r.unpin()
	if r.disconnected.Swap(true) {
		return
	}
	r.n.logger.Warn().Str("replica", r.addr).Stringer("state", r.progress.State()).
		Int64("acked", int64(r.progress.Status().Acked)).Str("why", why).Msg("replica disconnected")
	r.conn.cut()
	r.cancel()
}

// keepFor keeps the pinned log of a replica for the time d after its connection has ended: a server
// that has the whole snapshot completes its load, connects again and requests the log after it.
func (rs *replicas) keepFor(r *replica, d time.Duration) {
	if r.pin.Load() == nil {
		return
	}
	rs.Lock()
	defer rs.Unlock()
	rs.left[r] = struct{}{}
	time.AfterFunc(d, func() {
		rs.Lock()
		defer rs.Unlock()
		delete(rs.left, r)
		r.unpin()
	})
}

// needs returns the offset from which the replica needs the log: the offset of its pin, or, without
// a pin, the offset up to which the log was sent.
func (r *replica) needs() replog.Offset {
	if p := r.pin.Load(); p != nil {
		return p.Offset()
	}
	return r.progress.Status().Sent
}

// pinningLocked returns the replicas for which log is kept beyond Log.Keep.
func (rs *replicas) pinningLocked() (list []*replica) {
	for _, set := range []map[*replica]struct{}{rs.all, rs.left} {
		for r := range set {
			if r.pin.Load() != nil {
				list = append(list, r)
			}
		}
	}
	return list
}

// disconnectBefore disconnects all replicas that need log from before an offset, the furthest
// behind first, and releases the log kept for those that have left.
func (rs *replicas) disconnectBefore(end replog.Offset, why string) {
	rs.Lock()
	defer rs.Unlock()
	list := rs.pinningLocked()
	for r := range rs.all {
		if r.pin.Load() == nil && r.progress.State() == ReplicaOnline {
			list = append(list, r)
		}
	}
	list = slices.DeleteFunc(list, func(r *replica) bool { return r.needs() >= end })
	slices.SortFunc(list, func(a, b *replica) int { return cmp.Compare(a.needs(), b.needs()) })
	for _, r := range list {
		r.disconnect(why)
	}
}
