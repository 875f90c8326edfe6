package keyspace

import (
	"errors"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// Snapshot is the published state of one moment. Taking it pins the shards and holds the arenas'
// chunks; records and trees never change. The writer copies the slots of a pinned shard before it
// changes them. Each releases a shard as soon as it has read it, and the chunks at its end; Close
// releases the rest. Until then the memory of replaced records is not reused.
type Snapshot struct {
	k             *readState
	hold          *arena.Hold
	treesHold     *arena.Hold
	shards        []*shard
	keys, expires int
	read          bool
}

// Entry is one key of a snapshot. It is valid only during the visit, as are all byte slices that
// its value returns. They must not be changed.
type Entry struct {
	Key      []byte
	ExpireAt int64 // ms since 1970, 0: never
	Value    Value
}

// Snapshot captures the published state, in time proportional to the number of shards (one for some
// thousand keys). A staged unit is not included. The writer calls it between units; the result may
// be used by another goroutine.
func (k *Keyspace) Snapshot() *Snapshot { return k.snapshot() }

func (k *readState) snapshot() *Snapshot {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d := k.table.dir.Load()
	s := &Snapshot{k: k, keys: k.keys, expires: k.expires, shards: make([]*shard, 0, len(d.shards))}
	s.hold, s.treesHold = k.arena.Hold(), k.trees.Hold()
	d.each(func(sh *shard) bool {
		sh.pins.Add(1)
		s.shards = append(s.shards, sh)
		return true
	})
	return s
}

// Len returns the number of keys and the number of those with an expiry.
func (s *Snapshot) Len() (keys, expires int) { return s.keys, s.expires }

// Each visits every key once, in an unspecified order, including expired keys that are not deleted
// yet. It stops at the first error of visit. A snapshot can be read only once; a second Each is an
// error.
func (s *Snapshot) Each(visit func(e Entry) error) error {
	return s.records(func(rec record, big *value.Big) error {
		return visit(Entry{
			Key: bytesOf(rec.key()), ExpireAt: rec.expireAt(), Value: s.k.valueOf(rec, big),
		})
	})
}

func (s *Snapshot) records(visit func(rec record, big *value.Big) error) error {
	if s.read {
		return errors.New("read snapshot: it has been read or closed")
	}
	s.read = true
	for i, sh := range s.shards {
		for j := range sh.slots.len() {
			e := sh.slots.at(j)
			if e == 0 {
				continue
			}
			rec := record(stringOf(s.k.arena.At(e.at())))
			var big *value.Big
			if rec.isBig() {
				big = sh.bigs[rec.key()]
			}
			if err := visit(rec, big); err != nil {
				return err
			}
		}
		sh.pins.Add(-1)
		s.shards[i] = nil
	}
	s.release()
	return nil
}

func (s *Snapshot) release() {
	s.k.arena.ReleaseHold(s.hold)
	s.k.trees.ReleaseHold(s.treesHold)
}

// directory returns a function that finds the shard of a hash. It is valid until Each or Close.
func (s *Snapshot) directory() (shardOf func(hash uint64) *shard) {
	depth := uint(0)
	for _, sh := range s.shards {
		depth = max(depth, sh.depth)
	}
	entries := make([]*shard, 0, 1<<depth)
	for _, sh := range s.shards { // in the order of hashes
		for range 1 << (depth - sh.depth) {
			entries = append(entries, sh)
		}
	}
	return func(hash uint64) *shard { return entries[hash>>(64-depth)] }
}

// Close releases what Each has not read. It must not run concurrently with Each. Later calls change
// nothing.
func (s *Snapshot) Close() {
	for _, sh := range s.shards {
		if sh != nil {
			sh.pins.Add(-1)
		}
	}
	s.shards, s.read = nil, true
	s.release()
}
