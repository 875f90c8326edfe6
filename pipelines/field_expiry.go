package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/transform"
)

const (
	// fieldExpiryInterval is the time between two checks for fields that are due.
	fieldExpiryInterval = time.Second
	// fieldsAtOnce limits the fields that one unit removes.
	fieldsAtOnce = 500
)

// fieldExpiry is the state of the loop for fields of shared hashes that expire. When each of them
// is due is stored with the data, so that a stand-by continues after its promotion.
type fieldExpiry struct {
	checked time.Time   // of the last check; zero before the first
	more    bool        // further fields are due
	timer   *time.Timer // wakes the stream for the next check; nil: not necessary yet
}

// close ends the wake-ups.
func (f *fieldExpiry) close() {
	if f.timer != nil {
		f.timer.Stop() // a wake under way meets a closed stream at worst
	}
}

// removeDueFields removes fields of shared hashes whose time of expiry has passed, from the sink
// and, because that is an ordinary unit, from every replica. It must be called between
// transactions, and does nothing if the last check was less than a second ago.
func (l *loop) removeDueFields(ctx context.Context) error {
	f := &l.fields
	if !f.more && time.Since(f.checked) < fieldExpiryInterval {
		return nil
	}
	f.checked, f.more = time.Now(), false
	next, exists, err := l.nextDueField(ctx)
	if err != nil {
		return err
	}
	if exists && next <= l.sink.Now() {
		if err := l.removeFields(ctx); err != nil {
			return err
		}
	}
	isNeeded := exists || slices.ContainsFunc(l.tables.plans(), (*transform.Plan).ExpiresFields)
	switch {
	case f.more:
		l.stream.Wake() // after the next transaction, or at once if the source is idle
	case !isNeeded:
	case f.timer == nil:
		f.timer = time.AfterFunc(fieldExpiryInterval, l.stream.Wake)
	default:
		f.timer.Reset(fieldExpiryInterval)
	}
	return nil
}

// nextDueField returns when the first field is due, in milliseconds since 1970. exists is not set
// if no field expires.
func (l *loop) nextDueField(ctx context.Context) (at int64, exists bool, err error) {
	reply, err := l.readFieldExpiry(ctx, "+inf", "WITHSCORES", 1)
	if err != nil || len(reply.Elements) < 2 {
		return 0, false, err
	}
	ms, err := strconv.ParseFloat(string(reply.Elements[1].Text), 64)
	if err != nil {
		return 0, false, fmt.Errorf("read when fields expire: %w", err)
	}
	return int64(ms), true, nil
}

// readFieldExpiry reads the first entries of the sorted set that are due by a time.
func (l *loop) readFieldExpiry(
	ctx context.Context, until, option string, limit int,
) (resp.Reply, error) {
	command := [][]byte{
		[]byte("ZRANGEBYSCORE"), l.Expiry().FieldsKey, []byte("-inf"), []byte(until),
		[]byte("LIMIT"), []byte("0"), strconv.AppendInt(nil, int64(limit), 10),
	}
	if option != "" {
		command = append(command, []byte(option))
	}
	reply, err := l.sink.Read(ctx, command...)
	if err != nil {
		return reply, fmt.Errorf("read when fields expire: %w", err)
	}
	return reply, nil
}

// removeFields removes at most fieldsAtOnce fields that are due, in one unit.
func (l *loop) removeFields(ctx context.Context) error {
	// The transactions in the unit may write the fields again, with a later time.
	if err := l.Flush(ctx); err != nil {
		return err
	}
	now := strconv.FormatInt(l.sink.Now(), 10)
	reply, err := l.readFieldExpiry(ctx, now, "", fieldsAtOnce)
	if err != nil || len(reply.Elements) == 0 {
		return err
	}
	entries := make([][]byte, 0, len(reply.Elements))
	for _, e := range reply.Elements {
		entries = append(entries, slices.Clone(e.Text)) // the next read overwrites the reply
	}
	removed, plans, u := 0, l.tables.plans(), l.Commands()
	for _, entry := range entries {
		key, field, ok := transform.ParseFieldEntry(entry)
		if ok {
			if ok, err = l.mayRemoveField(ctx, plans, key, field); err != nil {
				return err
			}
		}
		if ok {
			u.Append([]byte("HDEL"), key, field)
			removed++
		}
	}
	u.Append(append([][]byte{[]byte("ZREM"), l.Expiry().FieldsKey}, entries...)...)
	l.fields.more = len(entries) == fieldsAtOnce
	l.log.Debug().Int("fields", removed).Msg("fields that have expired are removed")
	return l.Flush(ctx)
}

// mayRemoveField reports whether a field that is due can be removed. An entry may be left over: of
// a key that a job has removed, or of an output whose fields do not expire any more.
func (l *loop) mayRemoveField(
	ctx context.Context, plans []*transform.Plan, key, field []byte,
) (bool, error) {
	if slices.ContainsFunc(plans, func(p *transform.Plan) bool {
		return p.KeepsField(key, field)
	}) {
		return false, nil
	}
	at := transform.Location{Key: key, Member: field}
	return sink.HoldsLocation(ctx, l.sink, transform.Hash, at)
}
