package arena

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Addr is the place of a record, 40 bits; 0 is none.
type Addr uint64

// AddrBits is the width of an Addr.
const AddrBits = 40

const (
	offsetBits  = 21
	maxChunk    = 1 << offsetBits // bytes of an ordinary chunk
	firstChunk  = 64 << 10        // bytes of the first one
	activeShare = 32              // a chunk is to have at most one in so many of the bytes in use
	classShare  = 256             // the same of a chunk of one slab, of which there are more
	maxChunks   = 1<<(AddrBits-offsetBits) - 1
)

// ErrFull is returned by Append and Move when every chunk number is in use.
var ErrFull = errors.New("arena is full: it has as many chunks as it can address")

// An arena has two chunks that it appends to: records that have lived through a
// compaction change less often than new ones and are kept apart.
const (
	young = iota
	survivor
	numActive
)

// Arena holds records. The zero value is not usable, see New. It has many fields, all
// but memory, epoch and what mu guards the writer's alone: chunks, free places and
// epochs are one account of the same bytes.
type Arena struct {
	// memory of chunks by number. Elements change only while nobody can have
	// an address in them.
	memory atomic.Pointer[[][]byte]

	chunks      []chunk
	freeNumbers []uint32 // of chunks that are gone, to be used again
	active      [numActive]uint32
	classes     map[int]*sizeClass // by length of place; nil: places have any length
	sparse      []uint32           // chunks being emptied
	spare       [][]byte           // memory of gone chunks, of chunkCap bytes each
	unmappable  [][]byte           // memory of gone chunks that could not be unmapped
	unmap       func([]byte) bool
	chunkCap    int  // bytes of an ordinary chunk at most
	limit       int  // chunks
	poison      bool // overwrite what is freed

	used, live, mapped int64

	victim       uint32 // the chunk being compacted, 0: none
	victimOffset int
	retiring     []uint32 // chunks to retire at the next Advance

	freeLists     [maxRecycledSize/blockAlign + 1][]freeBlock // free places by length, in grains
	freed         []freeBlock                                 // freed in this epoch
	limbo         []batch                                     // freed before, and perhaps still looked at; oldest first
	held          []batch                                     // those of them that snapshots hold
	moreToReclaim bool                                        // there was more to do than one Advance does
	generation    uint32                                      // of the newest chunk

	epoch        atomic.Pointer[Epoch]
	oldEpochs    []*Epoch // that may still have readers, oldest first
	retired      []retiredChunk
	retiredBytes int64 // bytes of retired chunks

	mu           sync.Mutex
	holds        []*Hold
	holdReleased bool // a hold has gone since the last look
}

// chunk is what the writer knows of one. Invariant: live <= used.
type chunk struct {
	used, live int
	born       uint64 // the epoch it was made in
	generation uint32 // tells it from earlier chunks of its number
	sealed     bool   // full, and not retired: it may be compacted
	recyclable bool   // its free places may be used
	sparse     bool   // it is being emptied
}

type retiredChunk struct {
	number     uint32
	born, died uint64
}

// Stats says what an arena's memory is used for, in bytes but for Chunks.
type Stats struct {
	Live    int64 // records in use
	Garbage int64 // places of records that are not in use any more, in chunks that have others
	Retired int64 // retired chunks that a reader or a snapshot may still look at
	Mapped  int64 // all memory of chunks, spare ones included
	Chunks  int
}

// Options configures an Arena. All but Slabs are for tests.
type Options struct {
	// Slabs gives every chunk places of one length, of which there are few: see the package's comment.
	SizeClasses bool

	ChunkSize int                 // bytes of a chunk at most; 0, or more than 2 MiB: 2 MiB
	MaxChunks int                 // how many there may be; 0: as many as an address can name
	Unmap     func(m []byte) bool // instead of unmapping memory
	Poison    bool                // overwrite memory when it is freed, as is always done under the race detector
}

// New returns an empty arena.
func New(o Options) *Arena {
	a := &Arena{chunkCap: defaultChunk, limit: maxChunks, poison: o.Poison || poisonAlways}
	if o.ChunkSize > 0 {
		a.chunkCap = min(o.ChunkSize, maxChunk)
	}
	if o.MaxChunks > 0 {
		a.limit = min(o.MaxChunks, maxChunks)
	}
	if a.unmap = o.Unmap; a.unmap == nil {
		a.unmap = unmapMemory
	}
	if o.SizeClasses {
		a.classes = map[int]*sizeClass{}
	}
	a.chunks = make([]chunk, 1)
	memory := make([][]byte, 1, 8)
	a.memory.Store(&memory)
	a.epoch.Store(&Epoch{number: 1})
	return a
}

// Stats returns the figures of now. Only the writer calls it.
func (a *Arena) Stats() Stats {
	return Stats{
		Live: a.live, Garbage: a.used - a.live, Retired: a.retiredBytes, Mapped: a.mapped,
		Chunks: len(a.chunks) - 1 - len(a.freeNumbers),
	}
}

// At returns the record at an address that is in use or pinned. It is read-only.
func (a *Arena) At(at Addr) []byte {
	p := (*a.memory.Load())[at>>offsetBits][at&(maxChunk-1):]
	n, w := int(p[0]), 1
	if n >= 0x80 {
		u, uw := binary.Uvarint(p)
		n, w = int(u), uw
	}
	return p[w : w+n : w+n]
}

// Append stores a copy of b, which is not empty, and returns its address and the copy.
func (a *Arena) Append(b []byte) (Addr, []byte, error) { return a.appendTo(young, b) }

func (a *Arena) appendTo(to int, b []byte) (Addr, []byte, error) {
	at, p, err := a.alloc(to, len(b))
	copy(p, b)
	return at, p, err
}

// Alloc makes a record of n bytes, more than none, which the caller writes before anyone
// else looks at it: until then they may be anything.
func (a *Arena) Alloc(n int) (Addr, []byte, error) { return a.alloc(young, n) }

// Room returns how long a record can be that takes no more than one of n bytes.
func (a *Arena) UsableSize(n int) int {
	need := a.BlockSize(n)
	return max(n, need-uvarintSize(need))
}

func (a *Arena) alloc(to, n int) (Addr, []byte, error) {
	need := a.BlockSize(n)
	at, ok := a.takeFree(need)
	if !ok {
		head := &a.active[to]
		if a.classes != nil {
			head = &a.sizeClass(need).active
		}
		number := *head
		if number == 0 || a.chunks[number].used+need > len((*a.memory.Load())[number]) {
			var err error
			if number, err = a.chunkWithRoom(head, need); err != nil {
				return 0, nil, err
			}
		}
		c := &a.chunks[number]
		at = Addr(number)<<offsetBits | Addr(c.used)
		c.used += need
		a.used += int64(need)
	}
	a.chunks[at>>offsetBits].live += need
	a.live += int64(need)
	p := (*a.memory.Load())[at>>offsetBits][at&(maxChunk-1):]
	w := binary.PutUvarint(p, uint64(n))
	return at, p[w : w+n : w+n], nil
}

// grain is what the lengths of places are rounded up to, in bytes, so that a
// record that has changed a little fits where another one was.
const blockAlign = 4 // at least 3: see giveBack

// lengthSize is what the length of a record of n bytes takes before it.
func uvarintSize(n int) int {
	w := 1
	for u := n; u >= 0x80; u >>= 7 {
		w++
	}
	return w
}

// Span is the length of the place of a record of n bytes.
func (a *Arena) BlockSize(n int) int {
	n += uvarintSize(n)
	if a.classes != nil {
		return classSize(n)
	}
	return (n + blockAlign - 1) &^ (blockAlign - 1)
}

// chunkFor returns a chunk with room for so many bytes: a new head, or one for
// a large record alone.
func (a *Arena) chunkWithRoom(head *uint32, need int) (uint32, error) {
	if need > a.chunkCap/8 {
		number, err := a.addChunk(need)
		if err == nil {
			a.chunks[number].sealed, a.chunks[number].recyclable = true, false
		}
		return number, err
	}
	// The heads shall be a small part of the whole.
	share := int64(activeShare)
	if a.classes != nil {
		share = classShare
	}
	size := min(firstChunk, a.chunkCap)
	for size < a.chunkCap && (size < need || int64(size) < a.live/share) {
		size = min(2*size, a.chunkCap)
	}
	number, err := a.addChunk(size)
	if err != nil {
		return 0, err
	}
	if old := *head; old != 0 {
		a.chunks[old].sealed = true
		a.retireIfEmpty(old)
	}
	*head = number
	return number, nil
}

// add makes a chunk.
func (a *Arena) addChunk(size int) (uint32, error) {
	reuse := len(a.freeNumbers) > 0
	if !reuse && len(a.chunks) > a.limit {
		return 0, ErrFull
	}
	var m []byte
	if n := len(a.spare); size == a.chunkCap && n > 0 {
		m, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		i := slices.IndexFunc(a.unmappable, func(m []byte) bool { return len(m) == size })
		if i >= 0 {
			m = a.unmappable[i]
			a.unmappable = slices.Delete(a.unmappable, i, i+1)
		} else {
			var err error
			if m, err = mapMemory(size); err != nil {
				return 0, fmt.Errorf("map %d bytes of memory: %w", size, err)
			}
		}
		a.mapped += int64(len(m))
	}
	a.generation = (a.generation + 1) & (1<<generationBits - 1)
	if a.generation&(1<<(generationBits-1)-1) == 0 {
		a.clearFreeLists() // none is to outlive a full round of generations
	}
	c := chunk{born: a.epoch.Load().number, generation: a.generation, recyclable: true}
	memory := *a.memory.Load()
	if reuse {
		number := a.freeNumbers[len(a.freeNumbers)-1]
		a.freeNumbers = a.freeNumbers[:len(a.freeNumbers)-1]
		memory[number], a.chunks[number] = m, c
		return number, nil
	}
	// Readers of the old header do not see the new element.
	memory = append(memory, m)
	a.memory.Store(&memory)
	a.chunks = append(a.chunks, c)
	return uint32(len(a.chunks) - 1), nil
}

// Drop takes back a record that nobody but the writer has seen.
func (a *Arena) FreeUnpublished(at Addr) {
	number, need := uint32(at>>offsetBits), a.BlockSize(len(a.At(at)))
	c := &a.chunks[number]
	c.live -= need
	a.live -= int64(need)
	if int(at&(maxChunk-1))+need == c.used && !c.sealed {
		c.used -= need
		a.used -= int64(need)
		return
	}
	if a.isRecyclable(need) {
		a.recycle(a.freeBlockAt(at), need)
	}
	a.retireIfEmpty(number)
}

// Free makes a record garbage. Nobody may find its address any more from the
// next Advance on.
func (a *Arena) Free(at Addr) {
	number, need := uint32(at>>offsetBits), a.BlockSize(len(a.At(at)))
	a.chunks[number].live -= need
	a.live -= int64(need)
	if a.isRecyclable(need) && a.chunks[number].recyclable {
		a.freed = append(a.freed, a.freeBlockAt(at))
	}
	a.retireIfEmpty(number)
}

// check lets a chunk that has nothing but garbage be retired.
func (a *Arena) retireIfEmpty(number uint32) {
	c := &a.chunks[number]
	if c.live != 0 || !c.sealed {
		return
	}
	c.sealed, c.recyclable, c.sparse = false, false, false
	if a.victim == number {
		a.victim = 0
	}
	a.retiring = append(a.retiring, number)
}

// FreeAll makes every record garbage. As after Free, some may be in use again
// before the next Advance: Keep says which.
func (a *Arena) FreeAll() {
	for i := range a.chunks {
		if c := &a.chunks[i]; c.live > 0 {
			a.live -= int64(c.live)
			c.live = 0
		}
	}
}

// Keep makes a record that FreeAll has freed one in use.
func (a *Arena) Retain(at Addr) {
	need := a.BlockSize(len(a.At(at)))
	a.chunks[at>>offsetBits].live += need
	a.live += int64(need)
}

// CheckAll ends what FreeAll began.
func (a *Arena) RetireEmpty() {
	for i := range a.chunks {
		a.retireIfEmpty(uint32(i))
	}
}

// Release gives all memory back. Nothing may use the arena after that.
func (a *Arena) Close() {
	for _, m := range slices.Concat(*a.memory.Load(), a.spare, a.unmappable) {
		if m != nil {
			a.unmap(m)
		}
	}
	a.memory.Store(nil)
}
