package keyspace

import (
	"maps"
	"math/bits"
	"runtime"
	"strings"
	"sync/atomic"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// maxShardKeys is the number of keys at which a shard is split. A shard of this size is copied in
// about 20 microseconds.
const maxShardKeys = 3500

// table maps keys to records. It is a directory from the top bits of a key's hash to shards
// (extendible hashing). Splitting, growing and copying a shard change no content, so the writer
// does that while readers read. put, move and remove need the write lock.
type table struct {
	dir    atomic.Pointer[directory]
	arena  *arena.Arena
	memory *shardMemory
}

// directory has 2^depth entries. A shard of depth d occupies 2^(depth-d) adjacent entries: all
// those whose index starts with its prefix.
type directory struct {
	depth  uint
	shards []atomic.Pointer[shard]
}

// shard holds the keys whose hashes start with one prefix of depth bits.
type shard struct {
	depth uint
	base  uint // bits of the hash before the tag; base <= depth < base+tagPeriod
	size  int  // number of slots that a hash may map to; the slice has some more after them
	count int
	// slots are sorted by the 64-bit hashes of their keys. A key is stored at home(tag), or after
	// it with no empty slot in between. The last slot is always empty.
	slots   slots
	mapped  bool                  // slots are memory pages of their own
	cleanup runtime.Cleanup       // of mapped slots
	bigs    map[string]*value.Big // the trees of records with flagBig

	// pins counts the snapshots that still have to read this shard. While it is not zero, the shard
	// must not change. It rises only under the read or write lock, and only for a shard in the
	// directory.
	pins atomic.Int32

	// reserved is how many more keys the writer expects from the unit being staged, if that is unit
	// reservedFor.
	reserved    int
	reservedFor uint64
}

// A split keeps the tags of a shard, although they repeat bits of its prefix then. New tags need
// the hashes of all keys, so they are computed only at the depths 5, 15, 25 and so on: at about
// 60,000 keys, and then at 60 million.
const (
	tagPeriod     = 10
	firstNewDepth = 5
)

func newTable(a *arena.Arena, m *shardMemory) *table {
	t := &table{arena: a, memory: m}
	d := &directory{shards: make([]atomic.Pointer[shard], 1)}
	d.shards[0].Store(t.newShard(0, 0, minShardSize))
	t.dir.Store(d)
	return t
}

// newShard returns an empty shard of at least the given size. It is larger if its pages have more
// room.
func (t *table) newShard(depth, base uint, size int) *shard {
	s := &shard{depth: depth, base: base}
	t.memory.allocate(s, size+size/32+33)
	s.size = (s.slots.len() - 32) * 32 / 33
	return s
}

func (d *directory) index(hash uint64) int { return int(hash >> (64 - d.depth)) }

func (d *directory) shard(hash uint64) *shard { return d.shards[d.index(hash)].Load() }

// span returns the number of entries that a shard occupies.
func (d *directory) span(s *shard) int { return 1 << (d.depth - s.depth) }

// each yields every shard once, in the order of hashes. It needs no lock, even while the writer
// splits shards: a split stores the upper half first, so a reader that sees the lower half also
// sees the upper one.
func (d *directory) each(yield func(s *shard) bool) {
	for i := 0; i < len(d.shards); {
		s := d.shards[i].Load()
		if !yield(s) {
			return
		}
		i += d.span(s)
	}
}

// record returns the record at an address.
func (t *table) record(at arena.Addr) record { return record(stringOf(t.arena.At(at))) }

// hashAt returns the hash of the key at an address.
func (t *table) hashAt(at arena.Addr) uint64 { return hashOf(bytesOf(t.record(at).key())) }

// find returns the record of a key, with its address and trees, or "".
func (t *table) find(hash uint64, key []byte) (record, arena.Addr, *value.Big) {
	return t.findIn(t.dir.Load().shard(hash), hash, key)
}

// findIn is find in a given shard, which must be that of the hash.
func (t *table) findIn(s *shard, hash uint64, key []byte) (record, arena.Addr, *value.Big) {
	i, rec := t.locate(s, hash, key)
	switch {
	case rec == "":
		return "", 0, nil
	case rec.isBig():
		return rec, s.slots.at(i).at(), s.bigs[rec.key()]
	}
	return rec, s.slots.at(i).at(), nil
}

// locate returns the slot of a key and its record, or the slot to insert it at and "".
func (t *table) locate(s *shard, hash uint64, key []byte) (int, record) {
	tag := s.tagOf(hash)
	i := s.home(tag)
	for ; ; i++ {
		e := s.slots.at(i)
		if e == 0 || e.tag() > tag {
			break
		}
		if e.tag() != tag {
			continue
		}
		rec := t.record(e.at())
		if rec.key() == string(key) {
			return i, rec
		}
		if hashOf(bytesOf(rec.key())) > hash {
			break
		}
	}
	return i, ""
}

// locateAt returns the slot that holds an address, given the hash of its key.
func (s *shard) locateAt(hash uint64, at arena.Addr) (int, bool) {
	e := slotOf(s.tagOf(hash), at)
	i := s.home(e.tag())
	for ; ; i++ {
		switch found := s.slots.at(i); {
		case found == e:
			return i, true
		case found == 0 || found.tag() > e.tag():
			return i, false
		}
	}
}

// put stores a record, in place of the one with the same key if there is one. It needs the write
// lock.
func (t *table) put(hash uint64, rec record, at arena.Addr, big *value.Big) {
	s := t.unpinned(hash)
	key := bytesOf(rec.key())
	i, old := t.locate(s, hash, key)
	switch {
	case old != "":
		if old.isBig() {
			delete(s.bigs, old.key())
		}
		s.slots.set(i, slotOf(s.tagOf(hash), at))
	default:
		for !s.insert(i, slotOf(s.tagOf(hash), at)) {
			s = t.reserve(hash, 1, 0)
			if i, _ = t.locate(s, hash, key); s.full(i) {
				t.replace(hash, s, t.resized(s, s.size*3/2))
				s = t.dir.Load().shard(hash)
				i, _ = t.locate(s, hash, key)
			}
		}
	}
	if big != nil {
		if s.bigs == nil {
			s.bigs = map[string]*value.Big{}
		}
		s.bigs[strings.Clone(rec.key())] = big
	}
}

// move gives the key in slot i of its shard another address. It needs the write
// lock.
func (t *table) move(hash uint64, i int, to arena.Addr) {
	s := t.unpinned(hash)
	s.slots.set(i, slotOf(s.slots.at(i).tag(), to))
}

// unpinned returns the shard of a hash, after copying it if a snapshot holds it. Usually Stage has
// done that already, in reserve.
func (t *table) unpinned(hash uint64) *shard {
	s := t.dir.Load().shard(hash)
	if s.pins.Load() > 0 {
		c := t.clone(s)
		t.replace(hash, s, c)
		return c
	}
	return s
}

// reserve prepares the shard of a hash for one change that adds the given number of keys: no
// snapshot holds it, and it has room. The reservations of one unit (not 0) add up until the next
// unit. The content does not change, so no lock is needed.
func (t *table) reserve(hash uint64, adds int, unit uint64) *shard {
	for {
		s := t.dir.Load().shard(hash)
		if s.reservedFor != unit {
			s.reserved, s.reservedFor = 0, unit
		}
		n := s.count + s.reserved + adds
		switch {
		case n > maxShardKeys:
			t.split(hash, s)
			continue
		case n*20 > s.size*17 || n*4 < s.size && s.size > minShardSize:
			c := t.resized(s, n*100/65)
			t.replace(hash, s, c)
			s = c
		case s.pins.Load() > 0:
			c := t.clone(s)
			t.replace(hash, s, c)
			s = c
		}
		if unit != 0 {
			s.reserved += adds
		}
		return s
	}
}

// replace replaces a shard by another one of equal content.
func (t *table) replace(hash uint64, old, with *shard) {
	d := t.dir.Load()
	span := d.span(old)
	start := d.index(hash) &^ (span - 1)
	with.reserved, with.reservedFor = old.reserved, old.reservedFor
	for i := start + span - 1; i >= start; i-- {
		d.shards[i].Store(with)
	}
	t.memory.replace(old)
}

// split divides a shard in two by the next bit of its hashes. It also halves the reservation,
// because hashes are evenly distributed. If one half gets more keys than that, put makes room.
func (t *table) split(hash uint64, s *shard) {
	d := t.dir.Load()
	if s.depth == d.depth {
		wide := &directory{
			depth: d.depth + 1, shards: make([]atomic.Pointer[shard], 2*len(d.shards)),
		}
		for i := range wide.shards {
			wide.shards[i].Store(d.shards[i/2].Load())
		}
		t.dir.Store(wide)
		d = wide
	}
	low, high := t.halves(s)
	low.reserved, low.reservedFor = s.reserved/2, s.reservedFor
	high.reserved, high.reservedFor = s.reserved-s.reserved/2, s.reservedFor
	span := d.span(s)
	start := d.index(hash) &^ (span - 1)
	for i := start + span - 1; i >= start; i-- {
		if i >= start+span/2 {
			d.shards[i].Store(high)
		} else {
			d.shards[i].Store(low)
		}
	}
	t.memory.replace(s)
}

// removeAll takes all shards out of use, because another table replaces this one. It needs the
// write lock.
func (t *table) removeAll() {
	t.dir.Load().each(func(s *shard) bool { t.memory.replace(s); return true })
}

// tagOf returns the part of a hash that a slot stores.
func (s *shard) tagOf(hash uint64) uint32 { return uint32(hash << s.base >> addrBits) }

// home returns the slot that a tag maps to; it rises with the tag.
func (s *shard) home(tag uint32) int {
	hi, _ := bits.Mul64(uint64(tag)<<addrBits<<(s.depth-s.base), uint64(s.size))
	return int(hi)
}

// seek returns the first used slot whose key has at least the given hash, which must belong to this
// shard. It returns len(slots) if no slot has such a key.
func (t *table) seek(s *shard, hash uint64) int {
	tag := s.tagOf(hash)
	i := s.home(tag)
	for ; i < s.slots.len(); i++ {
		switch e := s.slots.at(i); {
		case e == 0 || e.tag() < tag:
		case e.tag() > tag || t.hashAt(e.at()) >= hash:
			return i
		}
	}
	return i
}

// full reports whether a slot cannot be inserted at i without using the last one.
func (s *shard) full(i int) bool {
	for ; i < s.slots.len()-1; i++ {
		if s.slots.at(i) == 0 {
			return false
		}
	}
	return true
}

// insert inserts a slot at i, moving later ones. It returns false if there is no room.
func (s *shard) insert(i int, e slot) bool {
	j := i
	for s.slots.at(j) != 0 {
		j++
	}
	if j == s.slots.len()-1 {
		return false
	}
	copy(s.slots.slice(i+1, j+1), s.slots.slice(i, j))
	s.slots.set(i, e)
	s.count++
	return true
}

// remove empties slot i and moves back the slots after it that are past their home.
func (s *shard) remove(i int) {
	j := i + 1
	for s.slots.at(j) != 0 && s.home(s.slots.at(j).tag()) < j {
		j++
	}
	copy(s.slots.slice(i, j-1), s.slots.slice(i+1, j))
	s.slots.set(j-1, 0)
	s.count--
}

// clone copies a shard.
func (t *table) clone(s *shard) *shard {
	c := &shard{
		depth: s.depth, base: s.base, size: s.size, count: s.count, bigs: maps.Clone(s.bigs),
	}
	t.memory.allocate(c, s.slots.len())
	copy(c.slots, s.slots)
	return c
}

// resized copies a shard into one of another size, at least minShardSize.
func (t *table) resized(s *shard, size int) *shard {
	c := t.placed(s.slots, s.base, s.depth, max(size, minShardSize))
	c.bigs = maps.Clone(s.bigs)
	return c
}

// placed builds a shard from sorted slots whose tags start at bit base. The shard is larger than
// size if necessary.
func (t *table) placed(from slots, base, depth uint, size int) *shard {
	s := t.newShard(depth, base, size)
	if depth%tagPeriod == firstNewDepth && depth > base {
		s.base = depth
	}
	next := 0
	for i := range from.len() {
		e := from.at(i)
		if e == 0 {
			continue
		}
		if s.base != base {
			e = slotOf(s.tagOf(t.hashAt(e.at())), e.at())
		}
		next = max(next, s.home(e.tag()))
		if next >= s.slots.len()-1 {
			t.memory.free(s)
			return t.placed(from, base, depth, size+size/2)
		}
		s.slots.set(next, e)
		next++
		s.count++
	}
	return s
}

// halves returns the two shards that s is split into.
func (t *table) halves(s *shard) (low, high *shard) {
	bit := tagBits - 1 - (s.depth - s.base)
	cut, n := 0, 0
	for cut < s.slots.len() && (s.slots.at(cut) == 0 || s.slots.at(cut).tag()>>bit&1 == 0) {
		if s.slots.at(cut) != 0 {
			n++
		}
		cut++
	}
	half := func(from slots, count int) *shard {
		return t.placed(from, s.base, s.depth+1, max(count*100/65, minShardSize))
	}
	low = half(s.slots.slice(0, cut), n)
	high = half(s.slots.slice(cut, s.slots.len()), s.count-n)
	for key, big := range s.bigs {
		h := low
		if hashOf(bytesOf(key))<<s.depth>>63 == 1 {
			h = high
		}
		if h.bigs == nil {
			h.bigs = map[string]*value.Big{}
		}
		h.bigs[key] = big
	}
	return low, high
}
