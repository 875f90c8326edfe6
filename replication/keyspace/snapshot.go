package keyspace

import (
	"errors"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// Snapshot is the published state of one moment. Taking it pins the shards and
// holds the arenas' chunks; records and trees never change anyway. Of a pinned
// shard the writer copies the slots before it changes them. Each lets go of a
// shard as soon as it has read it, of the chunks at its end, Close of the rest.
// Until then the memory of records that have been replaced is not used again.
type Snapshot struct {
	k             *Keyspace
	hold          *arena.Hold
	trees         *arena.Hold
	shards        []*shard
	keys, expires int
	read          bool
}

// Entry is one key of a snapshot. It is good during the visit only, and so is
// every byte slice that its value hands out; they are read-only.
type Entry struct {
	Key      []byte
	ExpireAt int64 // ms since 1970, 0: never
	Value    Value
}

// Snapshot fixes the published state, in time proportional to the number of
// shards (one for some thousand keys). A staged unit is not in it. The writer
// calls it between units; what it returns may go to another goroutine.
func (k *Keyspace) Snapshot() *Snapshot { return k.snapshot() }

func (k *Keyspace) snapshot() *Snapshot {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d := k.table.dir.Load()
	s := &Snapshot{k: k, keys: k.keys, expires: k.expires, shards: make([]*shard, 0, len(d.shards))}
	s.hold, s.trees = k.arena.Hold(), k.trees.Hold()
	d.each(func(sh *shard) bool {
		sh.pins.Add(1)
		s.shards = append(s.shards, sh)
		return true
	})
	return s
}

// Len returns the number of keys and of those that have an expiry.
func (s *Snapshot) Len() (keys, expires int) { return s.keys, s.expires }

// Each visits every key once, in no useful order, expired ones that nobody has
// deleted included. It ends with the first error of visit. A snapshot is read
// once; a second Each is an error.
func (s *Snapshot) Each(visit func(e Entry) error) error {
	return s.records(func(rec record, big *value.Big) error {
		return visit(Entry{Key: bytesOf(rec.key()), ExpireAt: rec.expireAt(), Value: s.k.valueOf(rec, big)})
	})
}

func (s *Snapshot) records(visit func(rec record, big *value.Big) error) error {
	if s.read {
		return errors.New("read snapshot: it has been read or closed")
	}
	s.read = true
	for i, sh := range s.shards {
		for j := range sh.slots {
			if sh.slots[j] == 0 {
				continue
			}
			rec := record(stringOf(s.k.arena.At(sh.slots[j].at())))
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
	s.k.trees.ReleaseHold(s.trees)
}

// directory returns what finds the shard of a hash. It is good until Each or
// Close.
func (s *Snapshot) directory() (shardOf func(hash uint64) *shard) {
	depth := uint(0)
	for _, sh := range s.shards {
		depth = max(depth, sh.depth)
	}
	entries := make([]*shard, 0, 1<<depth)
	for _, sh := range s.shards { // they are in the order of hashes
		for range 1 << (depth - sh.depth) {
			entries = append(entries, sh)
		}
	}
	return func(hash uint64) *shard { return entries[hash>>(64-depth)] }
}

// Close lets go of what Each has not read. It must not run beside Each, and may
// be called again.
func (s *Snapshot) Close() {
	for _, sh := range s.shards {
		if sh != nil {
			sh.pins.Add(-1)
		}
	}
	s.shards, s.read = nil, true
	s.release()
}
