package keyspace

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"

	"rowfall/replication/keyspace/arena"
)

// slot holds the tag, 26 bits of the hash, above the record's address without its lowest bits,
// which are 0. 0 is an empty slot.
type slot uint64

const (
	addrBits = arena.AddrBits - arena.AlignBits
	tagBits  = 64 - addrBits
	slotSize = 8
)

func (e slot) tag() uint32 { return uint32(e >> addrBits) }

func (e slot) at() arena.Addr { return arena.Addr(e&(1<<addrBits-1)) << arena.AlignBits }

func slotOf(tag uint32, at arena.Addr) slot {
	return slot(tag)<<addrBits | slot(at>>arena.AlignBits)
}

// slots is an array of slots, as bytes of memory pages.
type slots []byte

func (b slots) len() int { return len(b) / slotSize }

func (b slots) at(i int) slot { return slot(binary.LittleEndian.Uint64(b[slotSize*i:])) }

func (b slots) set(i int, e slot) { binary.LittleEndian.PutUint64(b[slotSize*i:], uint64(e)) }

// slice returns the slots from..to-1.
func (b slots) slice(from, to int) slots { return b[slotSize*from : slotSize*to] }

const (
	// pageSlots is the unit of the number of slots: those of a memory page.
	pageSlots = 4096 / slotSize
	// minShardSize is the size of the smallest shard, whose slots are one page.
	minShardSize = (pageSlots - 32) * 32 / 33
	// maxSpareSlots is the number of unused arrays that are kept for new shards.
	maxSpareSlots = 16
	// maxMappedSlots is the greatest number of arrays that are mapped, enough for 60 to 110 million
	// keys. Further arrays are on the heap, because Linux limits the mappings of a process to about
	// 65,000, and the arenas need some of them.
	maxMappedSlots = 32 << 10
	// maxReleased is the number of replaced shards that one Publish frees at most.
	maxReleased = 16
)

// shardMemory allocates and frees the slots of a keyspace's shards. They are memory pages outside
// the Go heap. On the heap, the slots would be nearly all of it, and the garbage collector lets the
// heap grow to a multiple before it collects. Only the writer uses a shardMemory.
type shardMemory struct {
	// replaced are the shards that are no longer in the directory. Readers that hold the read lock
	// may still use them. Once the writer has held the write lock, release moves them to waiting.
	// No reader uses the shards in waiting, but snapshots may have pinned them.
	replaced []*shard
	waiting  []*shard
	spare    []slots      // unused arrays
	mapped   int          // number of mapped arrays
	bytes    atomic.Int64 // of all arrays; any goroutine may read it

	mapPages   func(size int) ([]byte, error)
	unmapPages func(b []byte) (unmapped bool)
}

func newShardMemory() *shardMemory {
	return &shardMemory{mapPages: arena.MapPages, unmapPages: arena.UnmapPages}
}

// allocate gives a shard at least n slots, all empty. If the system maps no pages, they are on the
// heap.
func (m *shardMemory) allocate(s *shard, n int) {
	size := (n + pageSlots - 1) / pageSlots * pageSlots * slotSize
	for i, b := range m.spare {
		if len(b) == size {
			last := len(m.spare) - 1
			m.spare[i], m.spare = m.spare[last], m.spare[:last]
			clear(b)
			m.give(s, b)
			return
		}
	}
	m.bytes.Add(int64(size))
	if m.mapped < maxMappedSlots {
		if pages, err := m.mapPages(size); err == nil {
			m.mapped++
			m.give(s, pages)
			return
		}
	}
	s.slots = make(slots, size)
}

// give makes a shard the owner of mapped slots. If the keyspace becomes unreachable, they are
// unmapped when the garbage collector finds that.
func (m *shardMemory) give(s *shard, b slots) {
	s.slots, s.mapped = b, true
	s.cleanup = runtime.AddCleanup(s, func(pages []byte) { arena.UnmapPages(pages) }, []byte(b))
}

// free frees the slots of a shard that no reader and no snapshot uses.
func (m *shardMemory) free(s *shard) {
	b := s.slots
	s.slots = nil
	switch {
	case !s.mapped:
		m.bytes.Add(-int64(len(b)))
		return
	case len(m.spare) < maxSpareSlots:
		s.cleanup.Stop()
		m.spare = append(m.spare, b)
	default:
		s.cleanup.Stop()
		m.unmap(b)
	}
}

// unmap returns slots to the system. If it does not unmap them, they are kept for reuse.
func (m *shardMemory) unmap(b slots) {
	if m.unmapPages(b) {
		m.mapped--
		m.bytes.Add(-int64(len(b)))
	} else {
		m.spare = append(m.spare, b)
	}
}

// replace records that a shard is no longer in the directory.
func (m *shardMemory) replace(s *shard) { m.replaced = append(m.replaced, s) }

// release frees the slots of replaced shards that are not pinned, at most those of `most` shards.
// The caller must have held the write lock since the last shard was replaced, and have released it.
// The pins of a replaced shard never increase.
func (m *shardMemory) release(most int) {
	if len(m.replaced) > 0 {
		m.waiting = append(m.waiting, m.replaced...)
		clear(m.replaced)
		m.replaced = m.replaced[:0]
	}
	for range min(most, len(m.waiting)) {
		s := m.waiting[0]
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		if s.pins.Load() > 0 {
			m.waiting = append(m.waiting, s)
		} else {
			m.free(s)
		}
	}
}

// trim returns the unused arrays to the system.
func (m *shardMemory) trim() {
	spare := m.spare
	m.spare = nil
	for _, b := range spare {
		m.unmap(b)
	}
}
