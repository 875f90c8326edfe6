package keyspace

import (
	"maps"
	"math/bits"
	"strings"
	"sync/atomic"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// maxShardKeys is the number of keys at which a shard is split. A shard of this
// size is copied in some 20 microseconds.
const maxShardKeys = 3500

// minShardSize is the size of an empty shard, in slots.
const minShardSize = 8

// table maps keys to records: a directory over the top bits of a key's hash to
// shards (extendible hashing). Splitting, growing and copying a shard change no
// content, so the writer does them while readers read; put, move and remove need
// the write lock.
type table struct {
	dir   atomic.Pointer[directory]
	arena *arena.Arena
}

// directory has 2^depth entries. A shard of depth d stands in 2^(depth-d)
// neighbouring entries, all those whose index begins with its prefix.
type directory struct {
	depth  uint
	shards []atomic.Pointer[shard]
}

// shard holds the keys whose hash begins with one prefix of depth bits.
type shard struct {
	depth uint
	base  uint // bits of the hash before the tag; base <= depth <= base+maxLag
	size  int  // slots that a hash may map to; the slice has some more behind them
	count int
	// slots are in the order of their keys' hashes, all 64 bits of them. A key
	// lies at home(tag) or behind it with no empty slot between; the last slot
	// is always empty.
	slots []slot
	bigs  map[string]*value.Big // the trees of records with flagBig

	// pins counts the snapshots that still have to read this shard. While it
	// is not zero, the shard must not change any more. Only under the read or
	// write lock can it rise, and only for a shard in the directory.
	pins atomic.Int32

	// The writer expects `reserved` more keys from the unit being staged, if
	// that is unit reservedFor.
	reserved    int
	reservedFor uint64
}

// slot is the tag, 24 bits of the hash, over the address of the record; 0 is an
// empty one.
type slot uint64

const (
	tagBits = 64 - arena.AddrBits
	// maxLag is how many bits of a shard's prefix its tags may repeat. Making
	// tags anew means to hash all keys, so it is done once in so many splits.
	maxLag = 8
)

func (e slot) tag() uint32 { return uint32(e >> arena.AddrBits) }

func (e slot) at() arena.Addr { return arena.Addr(e & (1<<arena.AddrBits - 1)) }

func slotOf(tag uint32, at arena.Addr) slot { return slot(tag)<<arena.AddrBits | slot(at) }

func newTable(a *arena.Arena) *table {
	t := &table{arena: a}
	d := &directory{shards: make([]atomic.Pointer[shard], 1)}
	d.shards[0].Store(newShard(0, 0, minShardSize))
	t.dir.Store(d)
	return t
}

func newShard(depth, base uint, size int) *shard {
	return &shard{depth: depth, base: base, size: size, slots: make([]slot, size+size/16+16)}
}

func (d *directory) index(hash uint64) int { return int(hash >> (64 - d.depth)) }

func (d *directory) shard(hash uint64) *shard { return d.shards[d.index(hash)].Load() }

// span is the number of entries that a shard takes.
func (d *directory) span(s *shard) int { return 1 << (d.depth - s.depth) }

// each yields every shard once, in the order of hashes. Without the write lock
// held by anyone it is right even while the writer splits shards: the upper
// half is entered first, so who sees a lower half sees the upper one too.
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

// findIn does that in the shard of the hash.
func (t *table) findIn(s *shard, hash uint64, key []byte) (record, arena.Addr, *value.Big) {
	i, rec := t.locate(s, hash, key)
	switch {
	case rec == "":
		return "", 0, nil
	case rec.isBig():
		return rec, s.slots[i].at(), s.bigs[rec.key()]
	}
	return rec, s.slots[i].at(), nil
}

// locate returns the slot of a key with its record, or the one it would be
// inserted at with "".
func (t *table) locate(s *shard, hash uint64, key []byte) (int, record) {
	tag := s.tagOf(hash)
	i := s.home(tag)
	for ; s.slots[i] != 0 && s.slots[i].tag() <= tag; i++ {
		if s.slots[i].tag() != tag {
			continue
		}
		rec := t.record(s.slots[i].at())
		if rec.key() == string(key) {
			return i, rec
		}
		if hashOf(bytesOf(rec.key())) > hash {
			break
		}
	}
	return i, ""
}

// locateAt returns the slot that has an address, which is one of a key with
// this hash.
func (s *shard) locateAt(hash uint64, at arena.Addr) (int, bool) {
	e := slotOf(s.tagOf(hash), at)
	i := s.home(e.tag())
	for ; s.slots[i] != 0 && s.slots[i].tag() <= e.tag(); i++ {
		if s.slots[i] == e {
			return i, true
		}
	}
	return i, false
}

// put stores a record in place of the one with the same key, if there is one.
// It needs the write lock.
func (t *table) put(hash uint64, rec record, at arena.Addr, big *value.Big) {
	s := t.unpinned(hash)
	key := bytesOf(rec.key())
	i, old := t.locate(s, hash, key)
	switch {
	case old != "":
		if old.isBig() {
			delete(s.bigs, old.key())
		}
		s.slots[i] = slotOf(s.tagOf(hash), at)
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
	s.slots[i] = slotOf(s.slots[i].tag(), to)
}

// remove deletes a key that is there. It needs the write lock.
func (t *table) remove(hash uint64, key []byte) {
	s := t.unpinned(hash)
	i, old := t.locate(s, hash, key)
	if old.isBig() {
		delete(s.bigs, old.key())
	}
	s.remove(i)
}

// unpinned returns the shard of a hash after copying it for the snapshots that
// hold it. Stage has done that nearly always, by reserve.
func (t *table) unpinned(hash uint64) *shard {
	s := t.dir.Load().shard(hash)
	if s.pins.Load() > 0 {
		c := s.clone()
		t.replace(hash, s, c)
		return c
	}
	return s
}

// reserve makes the shard of a hash ready for one change that adds so many new
// keys: not held by a snapshot, and with room. What one unit (not 0) reserves
// adds up until another one comes. Content stays as it is, so no lock is needed.
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
		case n*20 > s.size*17 || n*4 < s.size && s.size > 8*minShardSize:
			c := t.resized(s, n*100/65)
			t.replace(hash, s, c)
			s = c
		case s.pins.Load() > 0:
			c := s.clone()
			t.replace(hash, s, c)
			s = c
		}
		if unit != 0 {
			s.reserved += adds
		}
		return s
	}
}

// replace puts a shard of equal content in the place of old.
func (t *table) replace(hash uint64, old, with *shard) {
	d := t.dir.Load()
	span := d.span(old)
	start := d.index(hash) &^ (span - 1)
	with.reserved, with.reservedFor = old.reserved, old.reservedFor
	for i := start + span - 1; i >= start; i-- {
		d.shards[i].Store(with)
	}
}

// split divides a shard in two by the next bit of its hashes, and with it the
// keys that are still expected: hashes are as good as random. Where one half gets
// more of them than that, put makes room.
func (t *table) split(hash uint64, s *shard) {
	d := t.dir.Load()
	if s.depth == d.depth {
		wide := &directory{depth: d.depth + 1, shards: make([]atomic.Pointer[shard], 2*len(d.shards))}
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
}

// tagOf returns what a slot keeps of a hash.
func (s *shard) tagOf(hash uint64) uint32 { return uint32(hash << s.base >> arena.AddrBits) }

// home returns the slot that a tag maps to; it rises with the tag.
func (s *shard) home(tag uint32) int {
	hi, _ := bits.Mul64(uint64(tag)<<arena.AddrBits<<(s.depth-s.base), uint64(s.size))
	return int(hi)
}

// seek returns the first used slot whose key's hash is at least the given one,
// which must belong to this shard, or len(slots).
func (t *table) seek(s *shard, hash uint64) int {
	tag := s.tagOf(hash)
	i := s.home(tag)
	for ; i < len(s.slots); i++ {
		switch e := s.slots[i]; {
		case e == 0 || e.tag() < tag:
		case e.tag() > tag || t.hashAt(e.at()) >= hash:
			return i
		}
	}
	return i
}

// full asks whether a slot cannot be inserted at i without using the last one.
func (s *shard) full(i int) bool {
	for ; i < len(s.slots)-1; i++ {
		if s.slots[i] == 0 {
			return false
		}
	}
	return true
}

// insert puts a slot at i, moving those behind it; false if there is no room.
func (s *shard) insert(i int, e slot) bool {
	j := i
	for s.slots[j] != 0 {
		j++
	}
	if j == len(s.slots)-1 {
		return false
	}
	copy(s.slots[i+1:j+1], s.slots[i:j])
	s.slots[i] = e
	s.count++
	return true
}

// remove empties slot i and moves those back that stand behind their home.
func (s *shard) remove(i int) {
	j := i + 1
	for s.slots[j] != 0 && s.home(s.slots[j].tag()) < j {
		j++
	}
	copy(s.slots[i:j-1], s.slots[i+1:j])
	s.slots[j-1] = 0
	s.count--
}

// clone copies a shard.
func (s *shard) clone() *shard {
	c := &shard{depth: s.depth, base: s.base, size: s.size, count: s.count, bigs: maps.Clone(s.bigs)}
	c.slots = append(make([]slot, 0, len(s.slots)), s.slots...)
	return c
}

// resized copies a shard into one of another size, at least minShardSize.
func (t *table) resized(s *shard, size int) *shard {
	c := t.placed(s.slots, s.base, s.depth, max(size, minShardSize))
	c.bigs = maps.Clone(s.bigs)
	return c
}

// placed builds a shard out of slots in order, whose tags begin at base, larger
// than size if need be.
func (t *table) placed(slots []slot, base, depth uint, size int) *shard {
	s := newShard(depth, base, size)
	if depth-base > maxLag {
		s.base = depth
	}
	next := 0
	for _, e := range slots {
		if e == 0 {
			continue
		}
		if s.base != base {
			e = slotOf(s.tagOf(t.hashAt(e.at())), e.at())
		}
		next = max(next, s.home(e.tag()))
		if next >= len(s.slots)-1 {
			return t.placed(slots, base, depth, size+size/2)
		}
		s.slots[next] = e
		next++
		s.count++
	}
	return s
}

// halves returns the two shards that s is split into.
func (t *table) halves(s *shard) (low, high *shard) {
	bit := tagBits - 1 - (s.depth - s.base)
	cut, n := 0, 0
	for cut < len(s.slots) && (s.slots[cut] == 0 || s.slots[cut].tag()>>bit&1 == 0) {
		if s.slots[cut] != 0 {
			n++
		}
		cut++
	}
	half := func(slots []slot, count int) *shard {
		return t.placed(slots, s.base, s.depth+1, max(count*100/65, minShardSize))
	}
	low, high = half(s.slots[:cut], n), half(s.slots[cut:], s.count-n)
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
