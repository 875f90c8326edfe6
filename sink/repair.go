package sink

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"

	"rowfall/replication/resp"
	"rowfall/transform"
)

// Repair appends the commands that turn what the sink holds at an expectation's location into the
// expected value. It appends none if the sink holds that already, so that nothing is sent to
// replicas and a key keeps its time to live. A value that is written gets its full time to live,
// and a value that should expire and does not gets it, too. A row whose time of expiry has passed
// is removed. The command for a shared set is deferred, and becomes nothing if the sink holds the
// row. If the key holds a value of another type, Repair returns a *KeyTypeError.
func Repair(
	ctx context.Context, r Reader, u *transform.Commands, e *transform.Expectation, x Expiry,
) (changed bool, err error) {
	held, err := KeyType(ctx, r, e.Key)
	if err != nil {
		return false, err
	}
	if held != TypeOf(e.Kind) && held != "none" {
		return false, &KeyTypeError{Key: string(e.Key), Held: held}
	}
	count := u.Count
	if e.Expiry.IsPast(x.Now) {
		err = x.removeExpired(ctx, r, u, e)
		return u.Count > count, err
	}
	exists := held != "none"
	err = repair(ctx, r, u, e, exists)
	if err == nil {
		err = x.repairExpiry(ctx, r, u, e, exists, u.Count > count)
	}
	return u.Count > count, err
}

// Overwrite appends the commands that write an expectation over a key of any type.
func Overwrite(u *transform.Commands, e *transform.Expectation, x Expiry) {
	u.Append([]byte("DEL"), e.Key)
	if e.Expiry.IsPast(x.Now) {
		return
	}
	ctx := context.Background() // neither call reads anything
	_ = repair(ctx, nil, u, e, false)
	_ = x.repairExpiry(ctx, nil, u, e, false, true)
}

// repair is Repair for a key that is absent, or isSame: of the expectation's type.
func repair(
	ctx context.Context, r Reader, u *transform.Commands, e *transform.Expectation, isSame bool,
) (err error) {
	switch held := TypeOf(e.Kind); {
	case held == "hash" && !e.HasField():
		err = repairHash(ctx, r, u, e, isSame)
	case held == "hash":
		if isSame {
			isSame, err = holds(ctx, r, e.Pairs[1], []byte("HGET"), e.Key, e.Pairs[0])
		}
		if !isSame {
			u.Append([]byte("HSET"), e.Key, e.Pairs[0], e.Pairs[1])
		}
	case e.Row != nil:
		// The command becomes nothing if the sink holds both the member and the row.
		u.Defer(&transform.Deferred{
			Kind: transform.DeferredReference, Begins: true,
			Key: e.Key, Member: e.Member, Row: e.Row,
		})
	case held == "set":
		if isSame {
			var reply resp.Reply
			reply, err = r.Read(ctx, []byte("SISMEMBER"), e.Key, e.Member)
			isSame = reply.Int == 1
		}
		if !isSame {
			u.Append([]byte("SADD"), e.Key, e.Member)
		}
	case held == "zset":
		if isSame {
			isSame, err = holdsScore(ctx, r, e)
		}
		if !isSame {
			u.Append([]byte("ZADD"), e.Key, e.Score, e.Member)
		}
	default:
		if isSame {
			isSame, err = holds(ctx, r, e.Value, []byte("GET"), e.Key)
		}
		if !isSame {
			u.Append([]byte("SET"), e.Key, e.Value)
		}
	}
	return err
}

// holds reports whether the reply of a command is the expected bulk string.
func holds(ctx context.Context, r Reader, want []byte, command ...[]byte) (bool, error) {
	reply, err := r.Read(ctx, command...)
	return err == nil && !reply.Null && bytes.Equal(reply.Text, want), err
}

// holdsScore compares scores as numbers: the sink may print one in another form.
func holdsScore(ctx context.Context, r Reader, e *transform.Expectation) (bool, error) {
	reply, err := r.Read(ctx, []byte("ZSCORE"), e.Key, e.Member)
	if err != nil || reply.Null {
		return false, err
	}
	held, errHeld := strconv.ParseFloat(string(reply.Text), 64)
	want, errWant := strconv.ParseFloat(string(e.Score), 64)
	return errHeld == nil && errWant == nil && held == want, nil
}

// repairHash appends the difference between a hash and the expected row: an HSET of the fields that
// differ, and an HDEL of the fields that no row has.
func repairHash(
	ctx context.Context, r Reader, u *transform.Commands, e *transform.Expectation, exists bool,
) error {
	held := make(map[string][]byte)
	if exists {
		reply, err := r.Read(ctx, []byte("HGETALL"), e.Key)
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(reply.Elements); i += 2 {
			held[string(reply.Elements[i].Text)] = reply.Elements[i+1].Text
		}
	}
	set := [][]byte{[]byte("HSET"), e.Key}
	for i := 0; i+1 < len(e.Pairs); i += 2 {
		field, value := e.Pairs[i], e.Pairs[i+1]
		if old, ok := held[string(field)]; !ok || !bytes.Equal(old, value) {
			set = append(set, field, value)
		}
		delete(held, string(field))
	}
	if len(set) > 2 {
		u.Append(set...)
	}
	if len(held) > 0 {
		del := [][]byte{[]byte("HDEL"), e.Key}
		for _, field := range slices.Sorted(maps.Keys(held)) {
			del = append(del, []byte(field))
		}
		u.Append(del...)
	}
	return nil
}
