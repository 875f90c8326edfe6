package node

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/upstream"
)

// badCommandError is a command of the upstream that the node cannot apply. The node stops
// following, because its data would differ from the upstream's.
type badCommandError struct {
	at  replog.Offset
	err error
}

func (e *badCommandError) Error() string {
	return fmt.Sprintf("apply command at offset %d of the upstream's log: %v; "+
		"correct the upstream's data, then send REPLICAOF with the same address for a full resync",
		e.at, e.err)
}

func (e *badCommandError) Unwrap() error { return e.err }

// submitBatch runs follow between two units.
func (a *appender) submitBatch(
	ctx context.Context, t Term, b *upstream.Batch,
) (ack replog.Offset, err error) {
	err = a.do(ctx, func() (err error) {
		ack, err = a.follow(t, b)
		return err
	})
	return ack, err
}

// follow logs and publishes a batch from the upstream, byte for byte, and removes from b what it
// has published. The commands of a batch become one record, except that a GETACK has a record of
// its own. follow returns after a GETACK: ack is the offset before the GETACK, which must be
// acknowledged at once. Otherwise ack is -1.
func (a *appender) follow(t Term, b *upstream.Batch) (ack replog.Offset, err error) {
	for b.Len() > 0 {
		if a.role != Replica || t != a.term {
			return -1, ErrDemoted
		}
		n, kind := groupSize(b)
		err := a.followGroup(kind, b.First(n))
		var bad *badCommandError
		if errors.As(err, &bad) && n > 1 {
			// The commands before the bad one are applied, so that the error has the bad one's
			// offset.
			if n = commandsBefore(b, n, bad.err); n == 1 {
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

// commandsBefore returns how many of the batch's first n commands end before the command that
// caused err. It returns 1 if the first command caused err, or if err names no command.
func commandsBefore(b *upstream.Batch, n int, err error) int {
	var e *keyspace.StageError
	if !errors.As(err, &e) {
		return 1
	}
	return max(sort.Search(n, func(i int) bool { return len(b.First(i+1)) > e.At }), 1)
}

// groupSize returns how many commands at the batch's start become one record, and the record's
// kind.
func groupSize(b *upstream.Batch) (n int, k replog.Kind) {
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

// followGroup logs and publishes one record. A replica does not delete expired keys by itself:
// their deletion comes from the upstream.
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
