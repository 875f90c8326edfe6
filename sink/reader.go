package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/transform"
)

// Reader executes read commands on the data of a sink. Only the goroutine that calls Apply may call
// Read.
type Reader interface {
	// Read executes one command, as Redis does, and returns its reply. An error reply is returned
	// as an error. The reply is valid until the next Read.
	Read(ctx context.Context, command ...[]byte) (resp.Reply, error)
}

// errNoReader means that the keyspace has no such read command.
var errNoReader = errors.New("not a read command")

// ReadKeyspace executes a read command on a keyspace, for sinks that consist of one. The reply lies
// in buffer, which is reused.
func ReadKeyspace(
	ks *keyspace.Keyspace, buffer *[]byte, command [][]byte,
) (resp.Reply, error) {
	w := resp.NewWriter(0, nil)
	w.Reset((*buffer)[:0], 2)
	if !ks.Execute(w, command) {
		return resp.Reply{}, fmt.Errorf("read %.20q from the sink: %w", command[0], errNoReader)
	}
	b := w.Bytes()
	if *buffer = b; cap(b) > maxKeptBuffer {
		*buffer = nil
	}
	reply, _, err := resp.ParseReply(b)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return resp.Reply{}, fmt.Errorf("read %.20q from the sink: %w", command[0], err)
	}
	return reply, nil
}

// KeyspaceReader reads a keyspace, as ReadKeyspace does.
type KeyspaceReader struct {
	Keys   *keyspace.Keyspace
	buffer []byte
}

// Read implements Reader.
func (k *KeyspaceReader) Read(_ context.Context, command ...[]byte) (resp.Reply, error) {
	return ReadKeyspace(k.Keys, &k.buffer, command)
}

// readHash returns the fields of a hash; none if the key does not exist.
func readHash(ctx context.Context, r Reader, key string) (map[string]string, error) {
	reply, err := r.Read(ctx, []byte("HGETALL"), []byte(key))
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(reply.Elements)/2)
	for i := 0; i+1 < len(reply.Elements); i += 2 {
		fields[string(reply.Elements[i].Text)] = string(reply.Elements[i+1].Text)
	}
	return fields, nil
}

// holdsKeys reports whether a sink holds any keys, those that nodes hide included.
func holdsKeys(ctx context.Context, r Reader) (bool, error) {
	size, err := r.Read(ctx, []byte("DBSIZE"))
	if err != nil || size.Int > 0 {
		return true, err
	}
	hidden, err := r.Read(ctx, []byte("EXISTS"), []byte(registryKey))
	return hidden.Int > 0, err
}

// Read implements Reader on the node's keyspace.
func (n *core) Read(_ context.Context, command ...[]byte) (resp.Reply, error) {
	return ReadKeyspace(n.node.Keyspace(), &n.reply, command)
}

// KeyFilter selects keys.
type KeyFilter struct {
	// Prefix is the text with which the keys begin.
	Prefix string
	// Kind is the output that has written the keys: keys of another type are skipped. 0 is any.
	Kind transform.OutputKind
}

// ScanKeys calls visit for a part of the keys that a filter selects, of about count keys. cursor is
// 0 for the first call, and next of the call before; next is 0 after the last part. A key that
// exists all the time is visited at least once. visit must not call r; key is valid until visit
// returns.
func ScanKeys(
	ctx context.Context, r Reader, cursor string, filter KeyFilter, count int,
	visit func(key []byte),
) (next string, err error) {
	command := [][]byte{
		[]byte("SCAN"), []byte(cursor), []byte("COUNT"), strconv.AppendInt(nil, int64(count), 10),
	}
	if filter.Prefix != "" {
		command = append(command, []byte("MATCH"), append(literalPattern(filter.Prefix), '*'))
	}
	if filter.Kind != 0 {
		command = append(command, []byte("TYPE"), []byte(TypeOf(filter.Kind)))
	}
	return scan(ctx, r, command, 1, visit)
}

// ScanMembers calls visit for a part of the members of a set or sorted set, or of the fields of a
// hash, like ScanKeys does for keys. kind is that of the output; a key of another type has no
// members.
func ScanMembers(
	ctx context.Context, r Reader, kind transform.OutputKind, key []byte, cursor string, count int,
	visit func(member []byte),
) (next string, err error) {
	held, err := KeyType(ctx, r, key)
	reads, ok := memberReads[held]
	if err != nil || held != TypeOf(kind) || !ok {
		return "0", err
	}
	command := [][]byte{
		[]byte(reads.scan), key, []byte(cursor),
		[]byte("COUNT"), strconv.AppendInt(nil, int64(count), 10),
	}
	if held == "hash" {
		command = append(command, []byte("NOVALUES")) // values may be large
	}
	return scan(ctx, r, command, reads.step, visit)
}

// scan executes a scan command and visits every step-th element.
func scan(
	ctx context.Context, r Reader, command [][]byte, step int, visit func([]byte),
) (next string, err error) {
	reply, err := r.Read(ctx, command...)
	if err != nil {
		return "", err
	}
	if len(reply.Elements) != 2 {
		return "", fmt.Errorf("read %s from the sink: a reply of %d elements",
			command[0], len(reply.Elements))
	}
	next = string(reply.Elements[0].Text)
	for i := 0; i < len(reply.Elements[1].Elements); i += step {
		visit(reply.Elements[1].Elements[i].Text)
	}
	return next, nil
}

// literalPattern escapes the characters that have a meaning in a pattern of SCAN.
func literalPattern(text string) []byte {
	var out []byte
	for i := range len(text) {
		if bytes.IndexByte([]byte(`*?[]^\`), text[i]) >= 0 {
			out = append(out, '\\')
		}
		out = append(out, text[i])
	}
	return out
}

// memberReads are the commands that read the members of a key, by the Redis type of the key. Other
// types have no members that belong to a row.
var memberReads = map[string]struct {
	holds string // reports whether a member exists
	scan  string
	step  int // elements of the scan's reply for each member
}{
	"hash": {"HEXISTS", "HSCAN", 1}, // with NOVALUES
	"set":  {"SISMEMBER", "SSCAN", 1},
	"zset": {"ZSCORE", "ZSCAN", 2},
}

// TypeOf returns the Redis type of an output's keys.
func TypeOf(kind transform.OutputKind) string { return kind.RedisType() }

// KeyType returns the type of a key; "none" if it does not exist.
func KeyType(ctx context.Context, r Reader, key []byte) (string, error) {
	reply, err := r.Read(ctx, []byte("TYPE"), key)
	return string(reply.Text), err
}
