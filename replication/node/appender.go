package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/notify"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
	"rowfall/replication/snapshots"
)

// appender is the node's single writer. Only the appender appends to the log, stages and publishes
// units, changes role and term, and fixes the points of snapshots. Work runs on the goroutine that
// submits it, while that goroutine holds the turn; the appender's own goroutine, loop, does the
// periodic work in its turn. It has more than 15 fields, because the holder of the turn owns the
// last group without any other lock.
type appender struct {
	n            *Node
	log          *replog.Log
	published    notify.Signal
	written      atomic.Int64 // offset after the newest unit or expiry
	ackRequested atomic.Int64 // offset after the newest GETACK

	// turn is a lock: the channel holds one value while work runs. Waiting goroutines acquire the
	// turn in their order of arrival. loop releases the turn at its start, and keeps it at its end.
	turn    chan struct{}
	stop    chan struct{} // closed by the node to end the loop
	stopped chan struct{} // closed by the loop: no work is accepted any more
	// failed is closed when err is set. moreExpired wakes loop after work that left expired keys.
	failed, moreExpired chan struct{}
	err                 error // why the log failed; others read it after stopped is closed

	// Only the holder of the turn uses these.
	keys *keyspace.Keyspace
	role Role
	term Term
	// closed when a failover allows writes again; nil: writes are allowed
	paused chan struct{}
	// why the keyspace lacks the data of the log, until a full resync; nil: no data are missing
	missing     error
	needSelect  bool // the next record must be SELECT
	expiredLeft bool // the last expire left expired keys
	expireMost  int  // limit on the bytes of key names that one record deletes
	lastPing    time.Time
	delivered   replog.Offset // end of the log at the last deliver
	scratch     []byte
	room        room
	checkedAt   replog.Offset // end of the log at the last checkSnapshotDue
}

var (
	pingRecord   = resp.AppendCommand(nil, "PING")
	getAckRecord = resp.AppendCommand(nil, "REPLCONF", "GETACK", "*")
	selectRecord = resp.AppendCommand(nil, "SELECT", "0")
)

func newAppender(n *Node) *appender {
	a := &appender{
		n: n, log: n.log, keys: n.Keyspace(), turn: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}), failed: make(chan struct{}),
		moreExpired: make(chan struct{}, 1), needSelect: true, lastPing: time.Now(),
		expireMost: expireBytes,
	}
	a.turn <- struct{}{}
	a.role, a.term = n.Role()
	a.missing = n.missingData()
	a.room = room{
		log: n.log, snaps: n.snaps, replicas: n.replicas, logger: n.logger, dir: n.c.Dir,
	}
	a.checkedAt = n.log.End()
	a.written.Store(int64(n.log.End()))
	return a
}

// submitUnit acquires the turn, applies a unit and returns the unit's end. A ctx that ends after
// the turn was acquired does not cancel the unit.
func (a *appender) submitUnit(ctx context.Context, t Term, unit []byte) (replog.Offset, error) {
	if err := a.acquire(ctx); err != nil {
		return 0, err
	}
	defer a.release()
	return a.apply(t, unit)
}

// do acquires the turn, runs a function between two units, and returns the function's error. A ctx
// that ends after the turn was acquired does not cancel the function. The function must not submit
// work, which would wait for its own turn for ever.
func (a *appender) do(ctx context.Context, run func() error) error {
	if err := a.acquire(ctx); err != nil {
		return err
	}
	defer a.release()
	return run()
}

// acquire waits for the turn. After an error the caller does not have the turn.
func (a *appender) acquire(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
	default:
		select {
		case a.turn <- struct{}{}:
		case <-a.stopped:
			return a.closedErr()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if a.err != nil {
		defer a.release()
		return a.err
	}
	return nil
}

// release passes the turn to the goroutine that has waited longest. Before that, it sends the log
// that was appended in this turn to the replicas on standby.
func (a *appender) release() {
	if end := a.log.End(); end != a.delivered {
		a.delivered = end
		a.n.replicas.deliver(end)
	}
	if a.expiredLeft && a.err == nil {
		select {
		case a.moreExpired <- struct{}{}:
		default:
		}
	}
	<-a.turn
}

// closedErr is the error of work that is submitted after stopped is closed.
func (a *appender) closedErr() error {
	if a.err != nil {
		return a.err
	}
	return ErrClosed
}

// stopErr returns closedErr if the appender has stopped, else nil.
func (a *appender) stopErr() error {
	if notify.IsClosed(a.stopped) {
		return a.closedErr()
	}
	return nil
}

// loop does the periodic work until stop is closed, or until the log fails: it returns the error of
// the log. Work that is submitted before loop begins waits for it.
func (a *appender) loop() error {
	defer close(a.stopped)
	a.room.update()
	<-a.turn
	tick := time.NewTicker(min(time.Second, a.n.c.PingPeriod))
	defer tick.Stop()
	for {
		var work func()
		select {
		case <-a.moreExpired:
			work = a.expireMore
		case <-tick.C:
			work = a.tick
		case <-a.log.Failed():
			work = func() { a.fail(a.log.Err()) } //nolint:errcheck // a.err ends the loop
		case <-a.failed:
		case <-a.stop:
		}
		a.turn <- struct{}{}
		if work != nil && a.err == nil {
			work()
		}
		// The turn is kept at the end, so that no work runs from here on.
		if work == nil || a.err != nil {
			return a.err
		}
		a.release()
	}
}

// expireMore deletes a further part of the expired keys. Submitted work runs between the parts.
func (a *appender) expireMore() {
	a.expiredLeft = false
	if a.role == Master && a.paused == nil {
		_ = a.expire(a.n.c.Now()) // on a full disk the next tick retries
	}
}

// fail makes a disk error final, because the contents of the disk are unknown after it. The loop
// ends, and Run returns the error.
func (a *appender) fail(err error) error {
	if a.err == nil {
		a.err = fmt.Errorf("the node stops at offset %d: %w", a.log.End(), err)
		close(a.failed)
	}
	return err
}

// failUnlessFull is fail for an append, except for a full disk: then nothing was written, and the
// append may be retried.
func (a *appender) failUnlessFull(err error) error {
	if isFull(err) {
		return err
	}
	return a.fail(err)
}

// tick does the periodic work: expiry, PING, release of memory, limits and snapshots.
func (a *appender) tick() {
	now := time.Now()
	if a.role == Master && a.paused == nil {
		// On a full disk expiry fails first: PING may use the reserve of the log.
		if a.expire(a.n.c.Now()) != nil && a.err != nil {
			return
		}
		if now.Sub(a.lastPing) >= a.n.settings.pingPeriod() && a.n.replicas.count() > 0 {
			a.lastPing = now
			if a.append(replog.Ping, pingRecord) != nil && a.err != nil {
				return
			}
		}
	}
	if a.n.failover.now() == failoverNone {
		_ = a.n.failover.removeFile() // on an error the next tick retries
	}
	a.keys.Tidy()
	limit, bounded := a.n.syncLogLimit()
	a.n.replicas.enforceLimits(now, a.log.End(), limit, bounded)
	a.checkSnapshotDue()
}

// logRecord appends a record. On a full volume it first trims log that nothing needs, or that only
// replicas need. It returns an error if that makes no room.
func (a *appender) logRecord(k replog.Kind, payload []byte) (replog.Offset, error) {
	end, err := a.log.Append(k, payload)
	if isFull(err) {
		a.room.update()
		for again := true; again; {
			end, err = a.log.Append(k, payload)
			again = isFull(err) && a.room.makeRoom(a.missing == nil)
		}
	}
	if end-a.checkedAt >= checkEvery(a.n.settings.keep.Load()) {
		a.checkSnapshotDue()
	}
	return end, err
}

// checkEvery is the number of log bytes after which the appender checks whether a snapshot is due,
// without waiting for the next tick.
func checkEvery(keep int64) replog.Offset {
	const most = 16 << 20
	if keep < 0 {
		return most
	}
	return replog.Offset(max(min(keep/4, most), snapshots.LeastBetween))
}

// checkSnapshotDue requests a snapshot if one is due, and updates the room that units must leave
// for the next one.
func (a *appender) checkSnapshotDue() {
	a.checkedAt = a.log.End()
	if a.missing == nil {
		a.n.snaps.RequestIfDue()
	}
	a.room.update() // after the request: before an attempt no volume is reported as too small
}

// append logs one record of a master. The first record after a start, a promotion or a snapshot's
// offset is SELECT, because a replica that joins there has no database selected.
func (a *appender) append(k replog.Kind, payload []byte) error {
	if a.needSelect {
		if _, err := a.logRecord(replog.Select, selectRecord); err != nil {
			return a.failUnlessFull(err)
		}
		a.needSelect = false
	}
	end, err := a.logRecord(k, payload)
	if err != nil {
		return a.failUnlessFull(err)
	}
	switch k {
	case replog.Unit, replog.Expiry:
		a.written.Store(int64(end))
	case replog.GetAck:
		a.ackRequested.Store(int64(end))
	}
	return nil
}

// apply stages, logs and publishes a unit. A unit that cannot be staged is not logged, and a unit
// that cannot be logged is not published.
func (a *appender) apply(t Term, unit []byte) (replog.Offset, error) {
	if a.role != Master || t != a.term {
		return 0, ErrDemoted
	}
	if a.paused != nil {
		return 0, &pausedError{a.paused}
	}
	if len(unit) == 0 || len(unit) > replog.MaxPayload {
		return 0, fmt.Errorf("apply unit: it has %d bytes; 1 to %d are allowed",
			len(unit), replog.MaxPayload)
	}
	now := a.n.c.Now()
	if err := a.expireBefore(unit, now); err != nil {
		return 0, err
	}
	if err := a.keys.Stage(unit); err != nil {
		return 0, fmt.Errorf("apply unit: %w", err)
	}
	if err := a.append(replog.Unit, unit); err != nil {
		a.keys.Discard()
		return 0, fmt.Errorf("apply unit: %w", err)
	}
	a.publish()
	a.n.quorum.record(a.log.End())
	return a.log.End(), nil
}

// publish makes the staged unit visible and wakes its waiters.
func (a *appender) publish() {
	a.keys.Publish()
	a.n.snaps.CheckMemory(a.keys)
	a.published.Notify()
}

// getAck requests an acknowledgement from every replica, unless one was requested since the newest
// unit.
func (a *appender) getAck() error {
	if a.role != Master || a.paused != nil || a.ackRequested.Load() > a.written.Load() {
		return nil
	}
	return a.append(replog.GetAck, getAckRecord)
}

// snapshotPoint fixes the contents of a snapshot. It deletes expired keys first, as far as the disk
// has room.
func (a *appender) snapshotPoint() (snapshots.Point, error) {
	if a.missing != nil {
		return snapshots.Point{}, a.missing
	}
	for range snapshotSweeps {
		if a.role != Master || a.paused != nil {
			break
		}
		// A full disk must not prevent the snapshot after which log can be trimmed. The snapshot
		// then contains the expired keys.
		if err := a.expire(a.n.c.Now()); isFull(err) {
			break
		} else if err != nil {
			return snapshots.Point{}, err
		}
		if !a.expiredLeft {
			break
		}
	}
	a.needSelect = true
	if err := a.room.prepare(); err != nil {
		return snapshots.Point{}, a.fail(err)
	}
	return a.n.pointOf(a.keys), nil
}

// isFull reports whether err means that the disk is full: nothing was written, and a retry may
// succeed.
func isFull(err error) bool {
	var full *replog.FullError
	return errors.As(err, &full)
}
