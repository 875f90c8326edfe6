package replication

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
	"rowfall/replication/snapshots"
	"rowfall/replication/upstream"
)

// appender is the node's single writer. It alone appends to the log, stages and publishes units,
// changes role and term, and fixes the points of snapshots. Other goroutines submit work and wait.
// The last group of fields is large because only the loop's goroutine may touch these fields.
type appender struct {
	n         *Node
	log       *replog.Log
	ops       chan *op
	pool      sync.Pool
	published signal
	written   atomic.Int64 // offset after the newest unit or expiry
	asked     atomic.Int64 // offset after the newest GETACK

	stop    chan struct{} // closed by the node to end the loop
	stopped chan struct{} // closed by the loop: no work is accepted any more
	err     error         // why the log failed; read after stopped is closed

	// Only the loop's goroutine uses these.
	keys *keyspace.Keyspace
	role Role
	term Term
	// a failover forbids writes until it is closed; nil: writes are allowed
	paused chan struct{}
	// why the keyspace lacks the data of the log, until a full resync; nil: it has them
	dropped    error
	needSelect bool // the next record must be SELECT
	moreDue    bool // expired keys are left
	expireMost int  // bytes of key names that one record deletes
	lastPing   time.Time
	scratch    []byte
	room       room
	checkedAt  replog.Offset // end of the log at the last checkSnapshotDue
}

// op is one piece of work: a unit, or a function that must run between two units.
type op struct {
	term Term
	unit []byte
	run  func() error

	end  replog.Offset
	err  error
	done chan struct{} // one message per use
}

var (
	pingRecord   = resp.AppendCommand(nil, "PING")
	getAckRecord = resp.AppendCommand(nil, "REPLCONF", "GETACK", "*")
	selectRecord = resp.AppendCommand(nil, "SELECT", "0")
)

func newAppender(n *Node) *appender {
	a := &appender{
		n: n, log: n.log, keys: n.Keyspace(), ops: make(chan *op), stop: make(chan struct{}),
		stopped: make(chan struct{}), needSelect: true, lastPing: time.Now(),
		expireMost: expireBytes,
	}
	a.pool.New = func() any { return &op{done: make(chan struct{}, 1)} }
	a.role, a.term = n.Role()
	a.dropped = n.missingData()
	a.room.n, a.checkedAt = n, n.log.End()
	a.written.Store(int64(n.log.End()))
	return a
}

// submit hands over a unit, or run if it is not nil, and waits for the outcome. A ctx that ends
// after the appender accepted the work does not cancel the work.
func (a *appender) submit(
	ctx context.Context, t Term, unit []byte, run func() error,
) (replog.Offset, error) {
	o := a.pool.Get().(*op)
	o.term, o.unit, o.run = t, unit, run
	select {
	case a.ops <- o:
	case <-a.stopped:
		return 0, a.closedErr()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	<-o.done // the loop answers everything that it accepted
	end, err := o.end, o.err
	o.unit, o.run, o.err = nil, nil, nil
	a.pool.Put(o)
	return end, err
}

// closedErr is the error of work that comes after stopped is closed.
func (a *appender) closedErr() error {
	if a.err != nil {
		return a.err
	}
	return ErrClosed
}

// loop works until stop is closed, or until the log fails, which it returns.
func (a *appender) loop() error {
	defer close(a.stopped)
	a.room.update()
	tick := time.NewTicker(min(time.Second, a.n.c.PingPeriod))
	defer tick.Stop()
	always := make(chan struct{})
	close(always)
	for a.err == nil {
		var due <-chan struct{}
		// Expiry takes turns with submitted work.
		if a.moreDue {
			due = always
		}
		select {
		case <-due:
			a.moreDue = false
			if a.role == Master && a.paused == nil {
				_ = a.expire(a.n.c.Now()) // on a full disk the next tick tries again
			}
		case o := <-a.ops:
			if o.run != nil {
				o.err = o.run()
			} else {
				o.end, o.err = a.apply(o.term, o.unit)
			}
			o.done <- struct{}{}
		case <-tick.C:
			a.tick()
		case <-a.log.Failed():
			a.fail(a.log.Err()) //nolint:errcheck // the loop ends by it
		case <-a.stop:
			return nil
		}
	}
	return a.err
}

// fail makes a disk error final, because the contents of the disk are unknown after it. The loop
// ends, and Run returns the error.
func (a *appender) fail(err error) error {
	if a.err == nil {
		a.err = fmt.Errorf("the node stops at offset %d: %w", a.log.End(), err)
	}
	return err
}

// failUnlessFull is fail for an append, except for a full disk: then nothing was written, and the
// append may be tried again.
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
		// On a full disk expiry fails before PING does, which has a reserve in the log.
		if a.expire(a.n.c.Now()) != nil && a.err != nil {
			return
		}
		if now.Sub(a.lastPing) >= a.n.pingPeriod() && a.n.replicas.count() > 0 {
			a.lastPing = now
			if a.append(replog.Ping, pingRecord) != nil && a.err != nil {
				return
			}
		}
	}
	if a.n.failover.now() == failoverNone {
		_ = a.n.failover.removeFile() // on an error the next tick tries again
	}
	a.keys.Tidy()
	a.n.replicas.enforceLimits(now)
	a.checkSnapshotDue()
}

// logRecord appends a record. On a full volume it drops log that nothing needs, or only replicas,
// before it returns the error.
func (a *appender) logRecord(k replog.Kind, payload []byte) (replog.Offset, error) {
	end, err := a.log.Append(k, payload)
	if isFull(err) {
		a.room.update()
		for again := true; again; {
			end, err = a.log.Append(k, payload)
			again = isFull(err) && a.room.makeRoom()
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

// checkSnapshotDue requests a snapshot if one is due, and sets the room to leave for the next.
func (a *appender) checkSnapshotDue() {
	a.checkedAt = a.log.End()
	if a.dropped == nil {
		a.n.snaps.RequestIfDue()
	}
	a.room.update() // after the request, so that an attempt shows a lack of room first
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
		a.asked.Store(int64(end))
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
	a.published.wake()
}

// getAck requests an acknowledgement from every replica, unless that was done since the newest
// unit.
func (a *appender) getAck() error {
	if a.role != Master || a.paused != nil || a.asked.Load() > a.written.Load() {
		return nil
	}
	return a.append(replog.GetAck, getAckRecord)
}

// snapshotPoint fixes the contents of a snapshot. It deletes expired keys first, as far as the disk
// has room.
func (a *appender) snapshotPoint() (snapshots.Point, error) {
	if a.dropped != nil {
		return snapshots.Point{}, a.dropped
	}
	for range snapshotSweeps {
		if a.role != Master || a.paused != nil {
			break
		}
		// A full disk must not prevent the snapshot that lets log go. The snapshot contains
		// the expired keys then.
		if err := a.expire(a.n.c.Now()); isFull(err) {
			break
		} else if err != nil {
			return snapshots.Point{}, err
		}
		if !a.moreDue {
			break
		}
	}
	a.needSelect = true
	if err := a.room.prepare(); err != nil {
		return snapshots.Point{}, a.fail(err)
	}
	return a.n.pointOf(a.keys), nil
}

// errDropped is why a node that freed its data for a full resync rejects promotions and snapshots.
var errDropped = errors.New(
	"the old data were dropped for a full resync that is not complete yet; " +

		"let it complete, or restart the node to have them again",
)

// badCommandError is a command of the upstream that the node cannot apply. The node stops
// following, because its data would differ from the upstream's.
type badCommandError struct {
	at  replog.Offset
	err error
}

func (e *badCommandError) Error() string {
	return fmt.Sprintf("command at offset %d of the upstream's stream cannot be applied: %v; "+
		"mend the upstream's data, then send REPLICAOF with the same address for a full resync",
		e.at, e.err)
}

func (e *badCommandError) Unwrap() error { return e.err }

// follow logs and publishes a batch from the upstream, byte for byte, and removes what it did from
// b. The commands of a batch become one record, except that a GETACK has its own. A GETACK ends the
// call: asked is the offset before it, else -1.
func (a *appender) follow(t Term, b *upstream.Batch) (asked replog.Offset, err error) {
	for b.Len() > 0 {
		if a.role != Replica || t != a.term {
			return -1, ErrDemoted
		}
		n, kind := group(b)
		err := a.followGroup(kind, b.First(n))
		var bad *badCommandError
		if errors.As(err, &bad) && n > 1 {
			// The commands before the bad one are applied, so that the error has its offset.
			if n = before(b, n, bad.err); n == 1 {
				kind = b.Kind(0)
			}
			err = a.followGroup(kind, b.First(n))
		}
		if err != nil {
			return -1, err
		}
		if kind == replog.GetAck {
			return a.log.End() - replog.Offset(len(b.First(n))), nil
		}
		b.Discard(n)
	}
	return -1, nil
}

// before returns how many of the batch's first n commands end before the one at fault. It returns 1
// if that is the first, or if blame names none.
func before(b *upstream.Batch, n int, blame error) int {
	var e *keyspace.StageError
	if !errors.As(blame, &e) {
		return 1
	}
	return max(sort.Search(n, func(i int) bool { return len(b.First(i+1)) > e.At }), 1)
}

// group returns how many commands at the batch's start become one record, and its kind.
func group(b *upstream.Batch) (n int, k replog.Kind) {
	k = b.Kind(0)
	if k == replog.GetAck {
		return 1, k
	}
	fits := func(n int) bool { return len(b.First(n+1)) <= replog.MaxPayload }
	for n = 1; n < b.Len() && b.Kind(n) != replog.GetAck && fits(n); n++ {
		k = replog.Unit
	}
	return n, k
}

// followGroup logs and publishes one record. A replica deletes no expired key on its own: it waits
// for the DEL of its upstream.
func (a *appender) followGroup(k replog.Kind, payload []byte) error {
	staged := k == replog.Unit || k == replog.Select
	if staged {
		if err := a.keys.Stage(payload); err != nil {
			return &badCommandError{a.log.End(), err}
		}
	}
	end, err := a.logRecord(k, payload)
	if err != nil {
		a.keys.Discard()
		return a.failUnlessFull(err)
	}
	if staged {
		a.publish()
	}
	if k == replog.Unit {
		a.written.Store(int64(end))
	}
	return nil
}

// installDataset replaces the data by those of a full resync. Every step can be repeated: a crash
// leaves the old data, or Pending in the identity file, from which the next start continues. The
// removal of the old files takes long, and only the link to the upstream waits for it.
func (a *appender) installDataset(
	t Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset,
) error {
	if a.role != Replica || t != a.term {
		return ErrDemoted
	}
	a.n.identityMu.Lock()
	defer a.n.identityMu.Unlock()
	defer a.n.snaps.LockReplace()()
	id := a.n.identity()
	id.History = identity.NewHistory(newID)
	id.Pending, id.PendingAt = true, at
	id.Complete, id.CompleteAt = true, at
	id.Boot = identity.BootID()
	err := id.Save(a.n.c.FS, a.n.c.Dir)
	if disk.IsFull(err) {
		return err // the old file is still there
	}
	var sweep func() error
	if err == nil {
		sweep, err = a.swapDataset(id, keys, at)
	}
	if err == nil {
		// While the identity has Pending: else a start could load the old snapshot, if its
		// offset is the higher one.
		err = errors.Join(a.n.snaps.RemoveOthers(at), sweep())
	}
	if err == nil {
		err = a.n.identity().Save(a.n.c.FS, a.n.c.Dir)
	}
	if err != nil {
		a.n.state.Lock()
		a.n.state.identityFrozen = true // the file may hold Pending, which the next start obeys
		a.n.state.Unlock()
		return a.fail(err)
	}
	return nil
}

// swapDataset installs keys, log offset and identity in one step under n.state, so that PSYNC never
// sees new bytes under the old id. The returned sweep deletes the old log files.
func (a *appender) swapDataset(
	id identity.State, keys *keyspace.Keyspace, at replog.Offset,
) (sweep func() error, err error) {
	if err := a.n.snaps.InstallResync(at, keys.Memory().Live); err != nil {
		return nil, err
	}
	a.n.state.Lock()
	defer a.n.state.Unlock()
	a.n.replicas.dropAll("the upstream sent a full resync")
	if sweep, err = a.log.BeginReset(at); err != nil {
		return nil, err
	}
	if id.Log, err = a.n.logName(); err != nil {
		return nil, err
	}
	id.Pending, id.PendingAt = false, 0
	a.keys = keys
	a.n.keys.Store(keys)
	a.n.state.id = id
	a.n.state.complete = true
	a.dropped, a.n.state.unusable, a.n.state.advice = nil, nil, ""
	a.written.Store(int64(at))
	a.asked.Store(0)
	a.n.quorum.reset()
	a.n.snaps.DataReplaced()
	a.published.wake()
	return sweep, nil
}

// dropDataset frees the data before a full resync loads others. The directory keeps the old data: a
// restart before the end of the resync loads them.
func (a *appender) dropDataset(t Term) error {
	if a.role != Replica || t != a.term {
		return ErrDemoted
	}
	a.n.setCompleteVolatile(false)
	a.dropped = errDropped
	a.keys = a.n.newKeyspace()
	a.n.keys.Store(a.keys)
	return nil
}

// isFull reports whether err is a full disk: nothing was written, and a retry may succeed.
func isFull(err error) bool {
	var full *replog.FullError
	return errors.As(err, &full)
}
