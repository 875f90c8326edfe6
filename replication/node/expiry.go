package node

import (
	"fmt"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

const (
	expireAtOnce = 256 // keys that one record deletes
	// expireBytes bounds the names in one record; a longer name has a record of its own.
	expireBytes    = 64 << 20
	snapshotSweeps = 64      // records of deletions before a snapshot
	scratchSize    = 1 << 20 // bytes; a larger buffer is not reused
)

// expire deletes expired keys by a DEL in the log, because replicas do not delete expired keys by
// themselves. It writes only one record, so that a million expired keys, with an fsync for each
// record, do not delay units and PINGs. expiredLeft reports whether expired keys are left.
func (a *appender) expire(now int64) error {
	var due [][]byte
	due, a.expiredLeft = a.keys.Expired(now, expireAtOnce, a.expireMost)
	return a.logDeletion(due)
}

// expireBefore deletes the keys that must be gone before a unit: one record of expired keys, and
// then every expired key that the unit names.
func (a *appender) expireBefore(unit []byte, now int64) error {
	if err := a.expire(now); err != nil || !a.expiredLeft {
		return err
	}
	var named, args [][]byte
	for len(unit) > 0 {
		var n int
		var err error
		if args, n, err = resp.ParseCommand(unit, args[:0]); err != nil {
			return nil // Stage returns the error
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

// logDeletion deletes expired keys in one record.
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
		a.scratch = nil // a key name can be as long as any value
	}
	if err := a.keys.Stage(b); err != nil {
		err = fmt.Errorf("expire keys: %w", err)
		if keyspace.IsFull(err) { // a later attempt may succeed; units are rejected, too
			a.expiredLeft = false
			return err
		}
		return a.fail(err)
	}
	if err := a.append(replog.Expiry, b); err != nil {
		a.keys.Discard()
		a.expiredLeft = false
		return err
	}
	a.publish()
	a.n.stats.expired.Add(int64(len(due)))
	return nil
}
