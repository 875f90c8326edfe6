package sink

import (
	"context"
	"math"
	"strconv"

	"rowfall/transform"
)

// FieldExpiryKey returns the key of the sorted set that holds when fields of shared hashes expire.
// Its members are those of transform.AppendFieldEntry, its scores are milliseconds since 1970. The
// pipeline removes the fields that are due, because Redis before 7.4 knows no expiry of fields.
func FieldExpiryKey(pipeline string) string { return HiddenPrefix + pipeline + ":field_expiry" }

// Expiry is what Repair needs to compare and write when keys and fields expire.
type Expiry struct {
	// Now is the time of the sink's clock, in milliseconds since 1970.
	Now int64
	// FieldsKey is the FieldExpiryKey of the pipeline.
	FieldsKey []byte
}

// repairExpiry appends the command that gives an expected value its expiry, if the sink holds
// another expiry, or if the unit writes the value. exists is set if the key exists; isWritten is
// set if the unit writes the value.
func (x Expiry) repairExpiry(
	ctx context.Context, r Reader, u *transform.Commands, e *transform.Expectation,
	exists, isWritten bool,
) error {
	held := int64(0)
	var err error
	switch {
	case !exists:
	case !e.HasField():
		held, err = keyExpiry(ctx, r, e.Key)
	case e.Expiry.Rule != transform.NoExpiry:
		held, err = x.fieldExpiry(ctx, r, e)
	}
	if err != nil {
		return err
	}
	if isWritten && TypeOf(e.Kind) == "string" {
		held = 0 // SET removes the expiry
	}
	want := e.Expiry.Time(x.Now)
	switch isShared := e.Member != nil; {
	case e.Expiry.Rule == transform.NoExpiry || isWritten:
	case want == 0 && isShared:
		return nil // another row may have given the key its expiry
	case e.Expiry.Rule == transform.ExpiresAfter || isShared:
		if held > 0 {
			return nil // the expiry that an earlier write gave
		}
	}
	if held != want {
		x.writeExpiry(u, e, want)
	}
	return nil
}

// keyExpiry returns when a key expires, in milliseconds since 1970; 0 if it does not.
func keyExpiry(ctx context.Context, r Reader, key []byte) (int64, error) {
	reply, err := r.Read(ctx, []byte("PEXPIRETIME"), key)
	return max(reply.Int, 0), err // negative: no expiry, or no key
}

// fieldExpiry returns when the field of an expectation expires, in milliseconds since 1970; 0 if it
// does not.
func (x Expiry) fieldExpiry(
	ctx context.Context, r Reader, e *transform.Expectation,
) (int64, error) {
	entry := transform.AppendFieldEntry(nil, e.Key, e.Pairs[0])
	reply, err := r.Read(ctx, []byte("ZSCORE"), x.FieldsKey, entry)
	if err != nil || reply.Null {
		return 0, err
	}
	ms, err := strconv.ParseFloat(string(reply.Text), 64)
	return int64(math.Round(ms)), err
}

// writeExpiry appends the command that sets when an expected value expires; 0 is never.
func (x Expiry) writeExpiry(u *transform.Commands, e *transform.Expectation, at int64) {
	ms := strconv.AppendInt(nil, at, 10)
	switch {
	case e.HasField() && at == 0:
		u.Append([]byte("ZREM"), x.FieldsKey,
			transform.AppendFieldEntry(nil, e.Key, e.Pairs[0]))
	case e.HasField():
		u.Append([]byte("ZADD"), x.FieldsKey, ms,
			transform.AppendFieldEntry(nil, e.Key, e.Pairs[0]))
	case at == 0:
		u.Append([]byte("PERSIST"), e.Key)
	default:
		u.Append([]byte("PEXPIREAT"), e.Key, ms)
	}
}

// removeExpired appends the commands that remove a value whose time of expiry has passed, if the
// sink holds it.
func (x Expiry) removeExpired(
	ctx context.Context, r Reader, u *transform.Commands, e *transform.Expectation,
) error {
	at := e.Location()
	held, err := HoldsLocation(ctx, r, e.Kind, at)
	if err != nil || !held {
		return err
	}
	switch {
	case e.HasField():
		u.Append([]byte("HDEL"), at.Key, at.Member)
		x.writeExpiry(u, e, 0)
	case e.Kind == transform.Set:
		u.Append([]byte("SREM"), at.Key, at.Member)
	case e.Kind == transform.SortedSet:
		u.Append([]byte("ZREM"), at.Key, at.Member)
	default:
		u.Append([]byte("DEL"), at.Key)
	}
	return nil
}
