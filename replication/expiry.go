package replication

import (
	"fmt"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

const (
	expireAtOnce   = 256      // keys that one record deletes
	expireBytes    = 64 << 20 // or fewer, if their names are so long together; a longer one goes alone
	snapshotSweeps = 64       // records of them before a snapshot
	scratchSize    = 1 << 20  // the largest buffer that is kept for the next record
)

// expire deletes keys that are due, as a command of the stream: replicas never
// delete on their own. It is one record at a time, so that a million of them,
// each with its fsync, keep neither units nor PINGs waiting; moreDue says that
// some are left.
func (a *appender) expire(now int64) error {
	var due [][]byte
	due, a.moreDue = a.keys.Expired(now, expireAtOnce, a.expireMost)
	return a.logDeletion(due)
}

// expireBefore deletes what must be gone before a unit: what is due, and of what
// is left of that all that the unit could touch.
func (a *appender) expireBefore(unit []byte, now int64) error {
	if err := a.expire(now); err != nil || !a.moreDue {
		return err
	}
	var named, args [][]byte
	for len(unit) > 0 {
		var n int
		var err error
		if args, n, err = resp.ParseCommand(unit, args[:0]); err != nil {
			return nil // staging says what is wrong with it
		}
		unit = unit[n:]
		for _, key := range args {
			if a.keys.IsDue(key, now) {
				named = append(named, key)
			}
		}
	}
	for len(named) > 0 {
		n, size := 0, 0
		for n < len(named) && (n == 0 || size+len(named[n]) <= a.expireMost) {
			size += len(named[n])
			n++
		}
		if err := a.logDeletion(named[:n]); err != nil {
			return err
		}
		named = named[n:]
	}
	return nil
}

// remove deletes keys that are due, in one record.
func (a *appender) logDeletion(due [][]byte) error {
	if len(due) == 0 {
		return nil
	}
	b := resp.AppendArray(a.scratch[:0], len(due)+1)
	b = resp.AppendBulkString(b, "DEL")
	for _, key := range due {
		b = resp.AppendBulk(b, key)
	}
	if a.scratch = b; cap(b) > scratchSize {
		a.scratch = nil // a name can be as long as any value
	}
	if err := a.keys.Stage(b); err != nil {
		err = fmt.Errorf("expire keys: %w", err)
		if keyspace.IsFull(err) { // it may pass; a unit is refused for it, too
			a.moreDue = false
			return err
		}
		return a.fail(err)
	}
	if err := a.append(replog.Expiry, b); err != nil {
		a.keys.Discard()
		a.moreDue = false
		return err
	}
	a.publish()
	a.n.stats.expired.Add(int64(len(due)))
	return nil
}
