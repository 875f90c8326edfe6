package keyspace

import (
	"runtime"
	"sync"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// readState is everything that read commands use. A Keyspace embeds the current state, which its
// writer changes. A View has a state of its own, which never changes.
type readState struct {
	hiddenPrefix string
	now          func() int64

	// mu guards the state that readers see. The writer reads it without the lock, because only the
	// writer changes it, and changes it under the lock.
	mu sync.RWMutex
	published

	// frozenKeys is set in a view of few keys: all records that its commands can find, by key. nil
	// means that keys are looked up in the table.
	frozenKeys map[string]frozenRecord

	arena  *arena.Arena // records
	trees  *arena.Arena // nodes of trees and of the expiry index
	shapes *value.Shapes
}

// published is the state that mu guards.
type published struct {
	table      *table
	keys       int
	expires    int // keys with an expiry
	hiddenKeys int // keys with the hidden prefix
	memory     arena.Stats
}

// pinned holds the arena epochs that a reader has pinned.
type pinned struct {
	k              *readState
	records, trees *arena.Epoch
}

// pin keeps every record and tree that is found from now on unchanged in memory, until unpin.
func (k *readState) pin() pinned { return pinned{k, k.arena.Pin(), k.trees.Pin()} }

func (p pinned) unpin() {
	p.records.Unpin()
	p.trees.Unpin()
	runtime.KeepAlive(p.k)
}

// read returns the value of a key that has not expired, or the zero Value. The caller must have
// pinned the arenas.
func (k *readState) read(key []byte) (v Value, expireAt int64) {
	if k.frozenKeys != nil {
		f := k.frozenKeys[string(key)]
		return k.liveValue(f.rec, f.big)
	}
	hash := hashOf(key)
	k.mu.RLock()
	rec, _, big := k.table.find(hash, key)
	k.mu.RUnlock()
	return k.liveValue(rec, big)
}

// liveValue returns the value of a record that has not expired, or the zero Value.
func (k *readState) liveValue(rec record, big *value.Big) (v Value, expireAt int64) {
	if expireAt = rec.expireAt(); expireAt != 0 && expired(expireAt, k.now()) {
		return Value{}, 0
	}
	return k.valueOf(rec, big), expireAt
}

// maxLookups is how many keys are looked up while the read lock is held once, which takes about a
// hundred microseconds.
const maxLookups = 512

// readAll calls visit with the value of every key, all as of one moment, until visit returns false.
// For more than maxLookups keys it takes a snapshot, so that the writer does not wait for all
// lookups.
func (k *readState) readAll(keys [][]byte, visit func(v Value) bool) {
	if k.frozenKeys != nil {
		for _, key := range keys {
			if v, _ := k.read(key); !visit(v) {
				return
			}
		}
		return
	}
	if len(keys) > maxLookups {
		s := k.snapshot()
		defer s.Close()
		shardOf := s.directory()
		for _, key := range keys {
			hash := hashOf(key)
			rec, _, big := k.table.findIn(shardOf(hash), hash, key)
			if v, _ := k.liveValue(rec, big); !visit(v) {
				return
			}
		}
		return
	}
	type found struct {
		hash uint64
		rec  record
		big  *value.Big
	}
	all := make([]found, len(keys))
	for i, key := range keys {
		all[i].hash = hashOf(key)
	}
	k.mu.RLock()
	for i, key := range keys {
		all[i].rec, _, all[i].big = k.table.find(all[i].hash, key)
	}
	k.mu.RUnlock()
	for _, f := range all {
		if v, _ := k.liveValue(f.rec, f.big); !visit(v) {
			return
		}
	}
}

// visibleKeys returns the number of keys that are not hidden.
func (k *readState) visibleKeys() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys - k.hiddenKeys
}
