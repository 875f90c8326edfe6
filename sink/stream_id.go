package sink

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/transform"
)

var errStreamFull = errors.New("the stream has the greatest id there is, " +
	"so that no entry can be added; give the output another key")

// resolveStreamID appends the id of the next entry of a stream: the one after the last id that the
// stream has generated, or the given milliseconds if they are later.
func resolveStreamID(r *resolution, d *transform.Deferred) error {
	last, known := r.streams[string(d.Key)]
	if !known {
		var err error
		if last, err = r.lastStreamID(d.Key); err != nil {
			return err
		}
	}
	id := keyspace.StreamID{Ms: uint64(max(d.Number, 0))}
	if id.IsZero() || id.Compare(last) <= 0 {
		id = last.Next()
	}
	if id.IsZero() {
		return fmt.Errorf("add an entry to %.80q: %w", d.Key, errStreamFull)
	}
	r.streams[string(d.Key)] = id
	r.out.Bytes = resp.AppendBulkString(r.out.Bytes, id.String())
	r.out.Count++ // the XADD, see Commands.deferPart
	return nil
}

// lastStreamID returns the last id that a stored stream has generated; zero without a stream.
func (r *resolution) lastStreamID(key []byte) (id keyspace.StreamID, err error) {
	held, err := KeyType(r.ctx, r.reader, key)
	switch {
	case err != nil || held == "none":
		return id, err
	case held != TypeOf(transform.Stream):
		return id, &KeyTypeError{Key: string(key), Held: held}
	}
	reply, err := r.read("XINFO", []byte("STREAM"), key)
	if err != nil {
		return id, err
	}
	for i := 0; i+1 < len(reply.Elements); i += 2 {
		if string(reply.Elements[i].Text) == "last-generated-id" {
			return parseStreamID(string(reply.Elements[i+1].Text))
		}
	}
	return id, fmt.Errorf("read XINFO of %.80q from the sink: it has no last-generated-id", key)
}

// parseStreamID reads an id as servers print it.
func parseStreamID(text string) (id keyspace.StreamID, err error) {
	ms, seq, _ := strings.Cut(text, "-")
	if id.Ms, err = strconv.ParseUint(ms, 10, 64); err == nil {
		id.Seq, err = strconv.ParseUint(seq, 10, 64)
	}
	if err != nil {
		return id, fmt.Errorf("parse stream id %.40q: %w", text, err)
	}
	return id, nil
}
