package keyspace

import (
	"encoding/binary"
	"hash/maphash"
	"runtime"
	"strings"
	"time"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/btree"
	"rowfall/replication/keyspace/value"
)

// Value is an immutable view of one stored value.
type Value = value.Value

// Kind is the type of a value.
type Kind = value.Kind

// The kinds of values.
const (
	String    = value.String
	Hash      = value.Hash
	Set       = value.Set
	SortedSet = value.SortedSet
	List      = value.List
	Stream    = value.Stream
)

type (
	// StreamID is the id of an entry of a stream.
	StreamID = value.StreamID
	// StreamInfo is the metadata of a stream besides its entries.
	StreamInfo = value.StreamInfo
	// StreamEntry is one entry of a stream.
	StreamEntry = value.StreamEntry
)

// Options configures a Keyspace.
type Options struct {
	// HiddenPrefix marks keys that SCAN, KEYS, RANDOMKEY and DBSIZE leave out; empty hides no keys.
	// All other commands see hidden keys.
	HiddenPrefix string
	// Now returns milliseconds since 1970 for readers; nil means the wall clock.
	Now func() int64
}

// Keyspace is one database. Stage, Publish, Discard, Tidy, Expired, IsDue, Snapshot and Loader are
// for one goroutine, the writer. All other methods may be called from any goroutine.
type Keyspace struct {
	readState
	nodes  *btree.Nodes
	shards *shardMemory

	// expiryIndex orders the keys that expire, by time (u64 big-endian) and key. Only the writer
	// uses it.
	expiryIndex btree.Tree

	stage      stage
	rows       rowStager
	compaction compaction
	defrag     defragmenter
}

// seed is the seed of all key hashes in this process. All keyspaces share it, so that SCAN cursors
// stay valid when a full resync replaces a keyspace.
var seed = maphash.MakeSeed()

func hashOf(key []byte) uint64 { return maphash.Bytes(seed, key) }

// New returns an empty keyspace.
func New(o Options) *Keyspace { return newKeyspace(o, arena.Options{}, arena.Options{}) }

func newKeyspace(o Options, records, trees arena.Options) *Keyspace {
	k := &Keyspace{}
	k.hiddenPrefix, k.now = o.HiddenPrefix, o.Now
	if k.now == nil {
		k.now = func() int64 { return time.Now().UnixMilli() }
	}
	k.arena, k.shapes = arena.New(records), value.NewShapes()
	trees.SizeClasses = true
	k.trees = arena.New(trees)
	k.nodes = btree.NewNodes(k.trees)
	k.stage.edit.Shapes, k.stage.edit.Nodes = k.shapes, k.nodes
	k.expiryIndex = k.nodes.Tree()
	k.shards = newShardMemory()
	k.table = newTable(k.arena, k.shards)
	// Every user of an arena's bytes keeps the keyspace reachable: see pin.
	runtime.AddCleanup(k, (*arena.Arena).Close, k.arena)
	runtime.AddCleanup(k, (*arena.Arena).Close, k.trees)
	return k
}

// Publish makes the whole staged unit visible at once. If no unit is staged, it does nothing.
func (k *Keyspace) Publish() {
	st := &k.stage
	if !st.active {
		return
	}
	k.mu.Lock()
	if st.flushed {
		k.table.removeAll()
		k.published = published{table: newTable(k.arena, k.shards)}
	}
	for i := range st.changes {
		k.publishLocked(&st.changes[i])
	}
	k.memory = k.stats()
	k.mu.Unlock()
	k.shards.release(maxReleased)
	k.expiryIndex = st.expiryIndex
	written := 0
	for i := range st.changes {
		written += len(st.changes[i].rec)
	}
	made, bytes := k.nodes.Created()
	k.releaseReplaced()
	st.reset()
	k.rows.reset()
	k.compact(written)
	k.arena.Advance()
	k.nodes.Reap(max(minReap, 2*made)) // free faster than units create nodes
	k.defragTrees(made, bytes)
	k.trees.Advance()
}

// minReap is the least number of nodes of deleted trees that one Publish frees, which takes about
// ten microseconds.
const minReap = 256

// stats returns the memory of both arenas together.
func (k *Keyspace) stats() arena.Stats {
	s, t := k.arena.Stats(), k.trees.Stats()
	return arena.Stats{
		Live: s.Live + t.Live, Garbage: s.Garbage + t.Garbage, Retired: s.Retired + t.Retired,
		Mapped: s.Mapped + t.Mapped, Chunks: s.Chunks + t.Chunks,
	}
}

// releaseReplaced frees the records and nodes that the published unit has replaced.
func (k *Keyspace) releaseReplaced() {
	st := &k.stage
	if st.flushed {
		k.endDefrag()
		k.arena.FreeAll()
		k.nodes.CommitReplacingAll()
	} else {
		k.nodes.Commit()
	}
	for i := range st.changes {
		c := &st.changes[i]
		switch {
		case st.flushed && c.at != 0 && !c.deleted:
			k.arena.Retain(c.at)
		case st.flushed:
		case c.deleted && c.at != 0:
			k.arena.Free(c.at)
		}
		if c.oldAt != 0 {
			k.arena.FreeSize(c.oldAt, len(c.old))
		}
	}
	if st.flushed {
		k.arena.RetireEmpty()
	}
}

func (k *Keyspace) publishLocked(c *change) {
	switch {
	case c.deleted && c.old == "": // it never was visible
	case c.deleted:
		k.table.removeOld(c)
		k.count(c.old, -1)
	case c.old == "":
		k.table.put(c.hash, c.rec, c.at, c.big)
		k.count(c.rec, 1)
	default:
		if !k.table.replaceOld(c) {
			k.table.put(c.hash, c.rec, c.at, c.big)
		}
		// The key is the same, so only the expiry can count differently.
		if (c.old[0]^c.rec[0])&flagExpires != 0 {
			k.count(c.old, -1)
			k.count(c.rec, 1)
		}
	}
}

// count adds a record to the counters (by 1), or removes it (by -1).
func (k *Keyspace) count(r record, by int) {
	k.keys += by
	if r[0]&flagExpires != 0 {
		k.expires += by
	}
	if k.isHidden(r.key()) {
		k.hiddenKeys += by
	}
}

// Discard discards the staged unit. If no unit is staged, it does nothing.
func (k *Keyspace) Discard() { k.discardStaged() }

// tidySteps limits how much one Tidy unmaps, in steps of some megabytes. All steps together take
// some milliseconds.
const tidySteps = 64

// tidyNodes is how many nodes of deleted trees one Tidy frees, which takes about 2 milliseconds.
const tidyNodes = 16 << 10

// tidyShards is how many replaced shards one Tidy frees, which takes about 2 milliseconds.
const tidyShards = 256

// Tidy releases memory that no reader uses any more. Publish does the same, a little at a time. The
// writer calls Tidy from time to time for periods without units. While a unit is staged, it does
// nothing.
func (k *Keyspace) Tidy() {
	if k.stage.active {
		return
	}
	k.nodes.Reap(tidyNodes)
	k.defragTrees(tidyNodes, 0)
	for range tidySteps {
		records, trees := k.arena.Advance(), k.trees.Advance()
		if !records && !trees {
			break
		}
	}
	k.arena.TrimSpare()
	k.trees.TrimSpare()
	if now := k.stats(); now != k.memory || len(k.shards.replaced) > 0 {
		k.mu.Lock()
		k.memory = now
		k.mu.Unlock()
	}
	k.shards.release(tidyShards)
	k.shards.trim()
}

// expiryKey returns the key of the expiry index for a key that expires at `at`. It is valid until
// the next call.
func (k *Keyspace) expiryKey(at int64, key string) []byte {
	k.stage.scratch = binary.BigEndian.AppendUint64(k.stage.scratch[:0], uint64(at))
	k.stage.scratch = append(k.stage.scratch, key...)
	return k.stage.scratch
}

// Expired returns published keys whose expiry has passed at now (milliseconds since 1970), earliest
// expiry first. It returns at most limit keys, and at most size bytes of keys, but always one if
// there is one. more is set if some expired keys may be missing. The caller deletes the keys with a
// unit of DEL.
func (k *Keyspace) Expired(now int64, limit, size int) (keys [][]byte, more bool) {
	k.expiryIndex.Ascend(0, limit, func(due, _ []byte) bool {
		if !expired(int64(binary.BigEndian.Uint64(due)), now) {
			return false
		}
		key := due[8:]
		if size -= len(key); size < 0 && len(keys) > 0 {
			more = true
			return false
		}
		keys = append(keys, append([]byte(nil), key...))
		more = len(keys) == limit
		return true
	})
	return keys, more
}

// IsDue reports whether a published key's expiry has passed at now (milliseconds since 1970).
func (k *Keyspace) IsDue(key []byte, now int64) bool {
	rec, _, _ := k.table.find(hashOf(key), key)
	at := rec.expireAt()
	return at != 0 && expired(at, now)
}

// Len returns the number of keys that are not hidden, as DBSIZE does. Expired keys count until they
// are deleted.
func (k *Keyspace) Len() int { return k.visibleKeys() }

// Counts returns the number of all keys, of the keys with an expiry, and of the keys with the
// hidden prefix.
func (k *Keyspace) Counts() (keys, expires, hidden int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys, k.expires, k.hiddenKeys
}

// TableSize returns the memory of the key table in bytes: about 11 bytes per key, the copies that
// snapshots hold, and unused arrays of slots.
func (k *Keyspace) TableSize() int64 { return k.shards.bytes.Load() }

// Memory returns the memory of records and trees in bytes, as of the last unit or Tidy. The key
// table is not included: see TableSize.
func (k *Keyspace) Memory() arena.Stats {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.memory
}

// Get returns a copy of a string. The result is false if the key is absent or not a string.
func (k *Keyspace) Get(key string) ([]byte, bool) {
	defer k.pin().unpin()
	v, _ := k.read(bytesOf(key))
	if v.Kind() != String {
		return nil, false
	}
	return append([]byte{}, v.Bytes()...), true
}

// HashFields returns a copy of a hash. The result is false if the key is absent or not a hash.
func (k *Keyspace) HashFields(key string) (map[string]string, bool) {
	defer k.pin().unpin()
	v, _ := k.read(bytesOf(key))
	if v.Kind() != Hash {
		return nil, false
	}
	fields := make(map[string]string, v.Len())
	v.Fields(func(field, val []byte) bool {
		fields[string(field)] = string(val)
		return true
	})
	return fields, true
}

// Each calls visit with every key that starts with prefix and has not expired, hidden keys
// included, all as of one moment.
func (k *Keyspace) Each(prefix string, visit func(key string)) {
	now := k.now()
	s := k.snapshot()
	defer s.Close()
	_ = s.records(func(rec record, _ *value.Big) error { // returns only the visitor's errors
		if key := rec.key(); strings.HasPrefix(key, prefix) && !expired(rec.expireAt(), now) {
			visit(strings.Clone(key))
		}
		return nil
	})
}
