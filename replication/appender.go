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

// appender is the node's single writer: it alone appends to the log, stages and
// publishes, changes role and term, and fixes the points of snapshots. Others
// hand it work and wait. Its fields are many because it alone may touch the last
// group, which is therefore in no other type.
type appender struct {
	n         *Node
	log       *replog.Log
	ops       chan *op
	pool      sync.Pool
	published signal
	written   atomic.Int64 // offset after the newest unit or expiry
	asked     atomic.Int64 // offset after the newest GETACK

	stop    chan struct{} // closed by the node: end the loop
	stopped chan struct{} // closed by the loop: nothing is taken any more
	err     error         // why the log failed; read after stopped

	// Only the loop's goroutine uses these.
	keys       *keyspace.Keyspace
	role       Role
	term       Term
	paused     chan struct{} // a failover lets nothing be written; nil: it may be
	dropped    error         // why the keyspace does not hold what the log says: a full resync is due; nil: it does
	needSelect bool          // a stream that begins here has selected no database yet
	moreDue    bool          // keys are left whose time has passed
	expireMost int           // bytes of names that one record deletes
	lastPing   time.Time
	scratch    []byte
	room       room
	checkedAt  replog.Offset // where the log ended when it was last looked whether a snapshot is due
}

// op is one piece of work: a unit, or anything else that must happen between units.
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
		stopped: make(chan struct{}), needSelect: true, lastPing: time.Now(), expireMost: expireBytes,
	}
	a.pool.New = func() any { return &op{done: make(chan struct{}, 1)} }
	a.role, a.term = n.Role()
	a.dropped = n.missingData()
	a.room.n, a.checkedAt = n, n.log.End()
	a.written.Store(int64(n.log.End()))
	return a
}

// submit hands over a unit, or run if it is not nil, and waits for the outcome.
func (a *appender) submit(ctx context.Context, t Term, unit []byte, run func() error) (replog.Offset, error) {
	o := a.pool.Get().(*op)
	o.term, o.unit, o.run = t, unit, run
	select {
	case a.ops <- o:
	case <-a.stopped:
		return 0, a.closedErr()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	<-o.done // whoever took it answers
	end, err := o.end, o.err
	o.unit, o.run, o.err = nil, nil, nil
	a.pool.Put(o)
	return end, err
}

func (a *appender) closedErr() error {
	if a.err != nil {
		return a.err
	}
	return ErrClosed
}

// loop works until stop, or until the log fails, which it returns.
func (a *appender) loop() error {
	defer close(a.stopped)
	a.room.update()
	tick := time.NewTicker(min(time.Second, a.n.c.PingPeriod))
	defer tick.Stop()
	always := make(chan struct{})
	close(always)
	for a.err == nil {
		var due <-chan struct{}
		if a.moreDue { // they take turns with what others want
			due = always
		}
		select {
		case <-due:
			a.moreDue = false
			if a.role == Master && a.paused == nil {
				_ = a.expire(a.n.c.Now()) // a full disk leaves it to the next tick
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

// fail makes a fault of the disk final: what is on it is not known any more. The loop
// ends by it, and Run returns it.
func (a *appender) fail(err error) error {
	if a.err == nil {
		a.err = fmt.Errorf("the node stops at offset %d: %w", a.log.End(), err)
	}
	return err
}

// failUnlessFull is fail for an append: without room nothing happened, and the
// same can be tried again.
func (a *appender) failUnlessFull(err error) error {
	if isFull(err) {
		return err
	}
	return a.fail(err)
}

// tick does what time asks for.
func (a *appender) tick() {
	now := time.Now()
	if a.role == Master && a.paused == nil {
		// A full disk refuses some of it, and PING last of all.
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
		_ = a.n.failover.removeFile() // the mark stays until the next tick
	}
	a.keys.Tidy()
	a.n.replicas.enforceLimits(now)
	a.checkSnapshotDue()
}

// logRecord appends a record. Where the volume has no room for it, log that is not needed any more,
// or only by replicas, is dropped before the record is refused.
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

// checkEvery is the log after which the node looks whether a snapshot is due, if that is before the
// next second.
func checkEvery(keep int64) replog.Offset {
	const most = 16 << 20
	if keep < 0 {
		return most
	}
	return replog.Offset(max(min(keep/4, most), snapshots.LeastBetween))
}

// look begins a snapshot if one is due, and leaves room for the next one.
func (a *appender) checkSnapshotDue() {
	a.checkedAt = a.log.End()
	if a.dropped == nil {
		a.n.snaps.RequestIfDue()
	}
	a.room.update() // which says that there is no room only where no attempt shows that
}

// append logs one record of a master. Everything after a snapshot's offset, a
// start or a promotion begins with SELECT, because a replica that joins there
// has no database selected.
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

// apply stages, logs, publishes and wakes. Nothing is logged that does not
// stage, nothing is published that is not logged.
func (a *appender) apply(t Term, unit []byte) (replog.Offset, error) {
	if a.role != Master || t != a.term {
		return 0, ErrDemoted
	}
	if a.paused != nil {
		return 0, &pausedError{a.paused}
	}
	if len(unit) == 0 || len(unit) > replog.MaxPayload {
		return 0, fmt.Errorf("apply unit: it has %d bytes; 1 to %d are allowed", len(unit), replog.MaxPayload)
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

// publish makes the staged unit visible and tells those who wait for it.
func (a *appender) publish() {
	a.keys.Publish()
	a.n.snaps.CheckMemory(a.keys)
	a.published.wake()
}

// getAck asks every replica for its offset, unless it has been asked since the
// newest unit.
func (a *appender) getAck() error {
	if a.role != Master || a.paused != nil || a.asked.Load() > a.written.Load() {
		return nil
	}
	return a.append(replog.GetAck, getAckRecord)
}

func (a *appender) snapshotPoint() (snapshots.Point, error) {
	if a.dropped != nil {
		return snapshots.Point{}, a.dropped
	}
	for range snapshotSweeps {
		if a.role != Master || a.paused != nil {
			break
		}
		// A full disk must not keep the snapshot from being taken that lets the log go: what ran
		// out is in it, then.
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

// errDropped is why a node that freed its data for a full resync does nothing else.
var errDropped = errors.New("the old data were dropped for a full resync that is not complete yet; " +

	"let it complete, or restart the node to have them again")

// badCommandError says which command of the upstream was not understood. The
// node must not go on: it would not hold what its upstream holds.
type badCommandError struct {
	at  replog.Offset
	err error
}

func (e *badCommandError) Error() string {
	return fmt.Sprintf("command at offset %d of the upstream's stream cannot be applied: %v; "+
		"mend the upstream's data, then send REPLICAOF with the same address for a full resync", e.at, e.err)
}

func (e *badCommandError) Unwrap() error { return e.err }

// follow logs and publishes what came from the upstream, byte for byte, and takes
// it out of b. What came at once goes into one record, except that a GETACK at
// the batch's end has its own: asked is the offset before it, -1 without one.
func (a *appender) follow(t Term, b *upstream.Batch) (asked replog.Offset, err error) {
	for b.Len() > 0 {
		if a.role != Replica || t != a.term {
			return -1, ErrDemoted
		}
		n, kind := group(b)
		err := a.followGroup(kind, b.First(n))
		var bad *badCommandError
		if errors.As(err, &bad) && n > 1 {
			// Those before the bad one count, and its own offset is told.
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
		b.Drop(n)
	}
	return -1, nil
}

// before is how many of the batch's first n records end before the command that is
// to blame, and 1 if it is in the first, or if none is.
func before(b *upstream.Batch, n int, blame error) int {
	var e *keyspace.StageError
	if !errors.As(blame, &e) {
		return 1
	}
	return max(sort.Search(n, func(i int) bool { return len(b.First(i+1)) > e.At }), 1)
}

// group is how many records at the batch's start are logged as one, and as what.
func group(b *upstream.Batch) (n int, k replog.Kind) {
	k = b.Kind(0)
	if k == replog.GetAck {
		return 1, k
	}
	for n = 1; n < b.Len() && b.Kind(n) != replog.GetAck && len(b.First(n+1)) <= replog.MaxPayload; n++ {
		k = replog.Unit
	}
	return n, k
}

// followGroup does it for one record to be. As a replica the node deletes nothing
// on its own: a key that ran out is there until the upstream's DEL.
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

// installDataset puts a full resync's data in the place of the old. Every step can be
// repeated: a crash leaves the old data, or Pending, from which recovery goes on.
// Removing the old takes long, and nobody else waits for it.
func (a *appender) installDataset(t Term, keys *keyspace.Keyspace, newID identity.ID, at replog.Offset) error {
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
		return err // nothing is changed
	}
	var sweep func() error
	if err == nil {
		sweep, err = a.swapDataset(id, keys, at)
	}
	if err == nil {
		// Before Pending goes: a start would take the old snapshot for the newest if its offset is higher.
		err = errors.Join(a.n.snaps.RemoveOthers(at), sweep())
	}
	if err == nil {
		err = a.n.identity().Save(a.n.c.FS, a.n.c.Dir)
	}
	if err != nil {
		a.n.state.Lock()
		a.n.state.identityFrozen = true // the file may say Pending, and a start goes by that
		a.n.state.Unlock()
		return a.fail(err)
	}
	return nil
}

// swapDataset does it for everybody who looks. Sweep removes the old log.
func (a *appender) swapDataset(id identity.State, keys *keyspace.Keyspace, at replog.Offset) (sweep func() error, err error) {
	if err := a.n.snaps.InstallResync(at, keys.Memory().Live); err != nil {
		return nil, err
	}
	// PSYNC is decided under this lock, so nobody gets new bytes for an old id or the other way round.
	a.n.state.Lock()
	defer a.n.state.Unlock()
	a.n.replicas.dropAll("the upstream sent a full resync")
	if sweep, err = a.log.Restart(at); err != nil {
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

// drop frees the data before a full resync brings others. The directory still
// has them, and until the new are complete a restart begins with them.
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

// isFull says whether err is a full disk, which left no trace and passes.
func isFull(err error) bool {
	var full *replog.FullError
	return errors.As(err, &full)
}
