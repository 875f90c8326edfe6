package sink

import (
	"bytes"
	"context"
	"fmt"

	"rowfall/replication/resp"
	"rowfall/transform"
)

// A block is a part of a pipeline's state that has its own key. Load does not return blocks,
// because there may be many; ReadBlock reads a single one.

// BlockKey returns the key of a block.
func BlockKey(pipeline, name string) string { return HiddenPrefix + pipeline + ":block:" + name }

// SetBlock adds a command to the unit that writes a block, with its checksum.
func (u *Unit) SetBlock(pipeline, name string, value []byte) {
	u.state = resp.AppendArray(u.state, 3)
	u.state = resp.AppendBulkString(u.state, "SET")
	u.state = resp.AppendBulkString(u.state, BlockKey(pipeline, name))
	u.state = resp.AppendBulk(u.state, append([]byte(checksum(value)), value...))
}

// DropBlock adds a command to the unit that removes a block.
func (u *Unit) DropBlock(pipeline, name string) {
	u.state = resp.AppendCommand(u.state, "DEL", BlockKey(pipeline, name))
}

// ReadBlock returns a copy of a block. It returns a *CorruptStateError if the block is missing or
// its checksum does not match.
func ReadBlock(ctx context.Context, r Reader, pipeline, name string) ([]byte, error) {
	key := BlockKey(pipeline, name)
	reply, err := r.Read(ctx, []byte("GET"), []byte(key))
	if err != nil {
		return nil, err
	}
	size := len(checksum(nil))
	if reply.Null || len(reply.Text) < size {
		return nil, &CorruptStateError{Key: key, Fault: "it is missing or truncated"}
	}
	want, value := string(reply.Text[:size]), bytes.Clone(reply.Text[size:])
	if got := checksum(value); got != want {
		return nil, &CorruptStateError{
			Key: key, Fault: fmt.Sprintf("its checksum is %s, want %.20q", got, want),
		}
	}
	return value, nil
}

// HoldsLocation reports whether the sink holds a value at a location whose type is the one that an
// output of a kind writes. A key of another type was not written by the output. A row of a shared
// set counts as held: the command that removes it becomes nothing if it is absent.
func HoldsLocation(
	ctx context.Context, r Reader, kind transform.OutputKind, at transform.Location,
) (bool, error) {
	if at.Row != nil {
		return true, nil
	}
	held, err := KeyType(ctx, r, at.Key)
	if err != nil || held != TypeOf(kind) || at.Member == nil {
		return held == TypeOf(kind), err
	}
	reads, ok := memberReads[held]
	if !ok {
		return false, nil
	}
	reply, err := r.Read(ctx, []byte(reads.holds), at.Key, at.Member)
	if reads.holds == "ZSCORE" { // a score, or null
		return err == nil && !reply.Null, err
	}
	return err == nil && reply.Int == 1, err
}
