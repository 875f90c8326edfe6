package keyspace

import (
	"fmt"
	"math"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// Loader fills a keyspace that no other goroutine uses yet. Keys, values and members are copied. A
// duplicate key, field or member is an error, and so is an empty collection, except an empty
// stream.
type Loader struct{ k *Keyspace }

// Loader returns a loader. It must not be used after the keyspace has been shared.
func (k *Keyspace) Loader() *Loader { return &Loader{k} }

// String adds a string. expireAt is in milliseconds since 1970, or 0 for no expiry.
func (l *Loader) String(key, val []byte, expireAt int64) error {
	return l.add(String, key, expireAt, func(e *value.Editor) error {
		e.Buf = append(e.Buf, val...)
		return nil
	})
}

// Hash adds a hash of field-value pairs.
func (l *Loader) Hash(key []byte, pairs [][]byte, expireAt int64) error {
	return l.add(Hash, key, expireAt, func(e *value.Editor) error {
		if len(pairs) == 0 || len(pairs)%2 != 0 {
			return fmt.Errorf("hash of %d fields and values", len(pairs))
		}
		if e.SetFields(Value{}, pairs) != len(pairs)/2 {
			return fmt.Errorf("duplicate field")
		}
		return nil
	})
}

// Set adds a set.
func (l *Loader) Set(key []byte, members [][]byte, expireAt int64) error {
	return l.add(Set, key, expireAt, func(e *value.Editor) error {
		if len(members) == 0 {
			return fmt.Errorf("empty set")
		}
		if e.AddMembers(Value{}, members) != len(members) {
			return fmt.Errorf("duplicate member")
		}
		return nil
	})
}

// SortedSet adds a sorted set; a score that is not a number is an error.
func (l *Loader) SortedSet(key []byte, members [][]byte, scores []float64, expireAt int64) error {
	return l.add(SortedSet, key, expireAt, func(e *value.Editor) error {
		if len(members) == 0 || len(members) != len(scores) {
			return fmt.Errorf("sorted set of %d members and %d scores", len(members), len(scores))
		}
		for _, s := range scores {
			if math.IsNaN(s) {
				return fmt.Errorf("score is not a number")
			}
		}
		if added, _ := e.SetScores(Value{}, members, scores); added != len(members) {
			return fmt.Errorf("duplicate member")
		}
		return nil
	})
}

// List adds a list of items, from its head.
func (l *Loader) List(key []byte, items [][]byte, expireAt int64) error {
	return l.add(List, key, expireAt, func(e *value.Editor) error {
		if len(items) == 0 {
			return fmt.Errorf("empty list")
		}
		e.PushItems(Value{}, items, false)
		return nil
	})
}

// Stream adds a stream. fill calls add with every entry, in the order of rising ids, with fields
// and values alternating, and then returns the stream's metadata. If add returns an error, fill
// must return it. Keyspaces do not support consumer groups: a caller that finds one in a snapshot
// must reject the snapshot.
func (l *Loader) Stream(
	key []byte, expireAt int64,
	fill func(add func(id StreamID, pairs [][]byte) error) (StreamInfo, error),
) error {
	return l.add(Stream, key, expireAt, func(e *value.Editor) error {
		s := e.EditStream(Value{})
		info, err := fill(func(id StreamID, pairs [][]byte) error {
			switch {
			case len(pairs) == 0 || len(pairs)%2 != 0:
				return fmt.Errorf("stream entry of %d fields and values", len(pairs))
			case id.Compare(s.Info.Last) <= 0:
				return fmt.Errorf("stream entry %s comes after %s", id, s.Info.Last)
			}
			s.Append(id, pairs)
			return nil
		})
		if err != nil {
			return err
		}
		if info.Last.Compare(s.Info.Last) < 0 || info.Added < uint64(s.Len()) {
			return fmt.Errorf("stream has %d entries up to %s, but its metadata counts %d up to %s",
				s.Len(), s.Info.Last, info.Added, info.Last)
		}
		s.Info = info
		s.Finish()
		return nil
	})
}

func (l *Loader) add(
	kind Kind, key []byte, expireAt int64, fill func(e *value.Editor) error,
) error {
	k := l.k
	hash := hashOf(key)
	if rec, _, _ := k.table.find(hash, key); rec != "" {
		return fmt.Errorf("load key %.64q: duplicate key", key)
	}
	k.beginUnit()
	rec, at, err := l.make(kind, key, expireAt, fill)
	if err != nil {
		k.nodes.Rollback()
		k.stage.edit.Reset()
		return fmt.Errorf("load key %.64q: %w", key, err)
	}
	k.table.reserve(hash, 1, k.stage.unit)
	k.mu.Lock()
	k.table.put(hash, rec, at, k.stage.edit.TakeBig(nil))
	k.count(rec, 1)
	k.memory = k.stats()
	k.mu.Unlock()
	k.shards.release(maxReleased)
	k.nodes.Commit()
	k.trees.Advance()
	return nil
}

// make creates the record of a key and adds its expiry to the index.
func (l *Loader) make(
	kind Kind, key []byte, expireAt int64, fill func(e *value.Editor) error,
) (rec record, at arena.Addr, err error) {
	k := l.k
	e := &k.stage.edit
	e.Reset()
	e.Buf = appendRecordHead(e.Buf[:0], kind, key, expireAt)
	err = fill(e)
	due := k.expiryIndex
	if expireAt != 0 {
		due.Set(k.expiryKey(expireAt, stringOf(key)), nil)
	}
	if full := k.nodes.Err(); full != nil {
		return "", 0, full // err may only be its consequence
	}
	if err != nil {
		return "", 0, err
	}
	rec, at = k.store()
	if err := k.stage.fault; err != nil {
		k.stage.fault = nil
		return "", 0, err
	}
	k.expiryIndex = due
	return rec, at, nil
}
