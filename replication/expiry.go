package replication

import (
	"fmt"

	"rowfall/replication/resp"
	"rowfall/replication/stream"
)

const (
	expireAtOnce   = 256 // keys that one record deletes
	snapshotSweeps = 64  // records of them before a snapshot
)

// expire deletes keys that are due, as a command of the stream: replicas never
// delete on their own. It is one record at a time, so that a million of them,
// each with its fsync, keep neither units nor PINGs waiting; moreDue says that
// some are left.
func (a *appender) expire(now int64) error {
	due := a.keys.Expired(now, expireAtOnce)
	a.moreDue = len(due) == expireAtOnce
	return a.remove(due)
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
	return a.remove(named)
}

// remove deletes keys that are due.
func (a *appender) remove(due [][]byte) error {
	if len(due) == 0 {
		return nil
	}
	b := resp.AppendArray(a.scratch[:0], len(due)+1)
	b = resp.AppendBulkString(b, "DEL")
	for _, key := range due {
		b = resp.AppendBulk(b, key)
	}
	a.scratch = b
	if err := a.keys.Stage(b); err != nil {
		return a.fail(fmt.Errorf("expire keys: %w", err))
	}
	if err := a.append(stream.Expiry, b); err != nil {
		a.keys.Discard()
		a.moreDue = false
		return err
	}
	a.publish()
	a.n.stats.expired.Add(int64(len(due)))
	return nil
}
