package arena

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Addr is the address of a record: 40 bits, the chunk's number and the offset in it.
// 0 is no address.
type Addr uint64

// AddrBits is the number of bits that an Addr uses. The upper bits of a stored uint64 are free
// for the owner.
const AddrBits = 40

// AlignBits is the number of the lowest bits of an Addr that are always 0.
const AlignBits = 2

const (
	offsetBits  = 21
	maxChunk    = 1 << offsetBits // bytes of an ordinary chunk at most
	firstChunk  = 64 << 10        // bytes of the first chunk
	activeShare = 32              // an active chunk has at most 1/32 of all live bytes
	classShare  = 256             // with size classes 1/256, because each class has an active chunk
	maxChunks   = 1<<(AddrBits-offsetBits) - 1
)

// ErrFull is returned by Append, Alloc and Move when every chunk number is in use, or the limit
// of Options.MaxChunks is reached.
var ErrFull = errors.New("arena is full: it has as many chunks as it can address")

// An arena without size classes has two active chunks, which new blocks are cut from. Records
// that survived a compaction change less often than new records, so they are kept apart.
const (
	young     = iota // new records
	survivor         // records that Move has copied
	numActive        // the number of active chunks
)

// Arena stores records. Its zero value cannot be used; call New. It has many fields because
// chunks, free blocks and epochs account for the same bytes. All fields except memory, epoch
// and those that mu guards belong to the writer.
type Arena struct {
	// memory holds the bytes of each chunk by chunk number. An element changes only while no
	// reader can have an address in that chunk.
	memory atomic.Pointer[[][]byte]

	chunks      []chunk  // by number; number 0 is not used
	freeNumbers []uint32 // numbers of released chunks, for new ones
	active      [numActive]uint32
	classes     map[int]*sizeClass // by block size; nil if chunks hold blocks of any size
	sparse      []uint32           // chunks that defragmentation empties
	spare       [][]byte           // memory of released chunks, each of chunkCap bytes
	spareUsed   bool               // spare has changed since the last TrimSpare
	unmappable  [][]byte           // memory of released chunks that the kernel did not unmap
	unmap       func([]byte) bool
	chunkCap    int  // bytes of an ordinary chunk at most
	limit       int  // number of chunks at most
	poison      bool // overwrite freed memory

	used, live, mapped int64 // bytes: of all blocks, of records in use, of all chunks

	victim       uint32 // the chunk being compacted; 0: no chunk is
	victimOffset int
	retiring     []uint32 // empty chunks that the next Advance retires

	// freeLists are indexed by block size in units of blockAlign.
	freeLists     [maxRecycledSize/blockAlign + 1][]freeBlock
	freed         []freeBlock // freed in the current epoch
	limbo         []batch     // freed earlier, oldest first
	held          []batch     // kept by a hold, apart from limbo
	moreToReclaim bool        // the last Advance left work behind
	generation    uint32      // of the newest chunk

	epoch        atomic.Pointer[Epoch] // the current epoch
	oldEpochs    []*Epoch              // ended epochs that may still have readers, oldest first
	retired      []retiredChunk
	retiredBytes int64 // bytes of retired chunks

	mu           sync.Mutex
	holds        []*Hold
	holdReleased atomic.Bool // a hold was released since the last Advance that looked at holds
}

// chunk is the writer's account of one chunk. Invariant: live <= used.
type chunk struct {
	used, live int    // bytes: of all blocks, of records in use
	born       uint64 // the epoch in which the chunk was made
	generation uint32 // distinguishes the chunk from earlier ones with the same number
	sealed     bool   // full, but not retired: compaction may select it
	recyclable bool   // free blocks in it may be used again
	sparse     bool   // defragmentation empties it
}

// retiredChunk is an empty chunk whose memory readers and holds may still need.
type retiredChunk struct {
	number     uint32
	born, died uint64 // the epochs in which it was made and in which it was retired
}

// Stats is what an arena uses its memory for. All fields except Chunks are in bytes.
type Stats struct {
	Live    int64 // blocks of records in use
	Garbage int64 // free blocks, and freed ones that readers may still see
	Retired int64 // chunks without live records that a reader or a snapshot may still need
	Mapped  int64 // memory of all chunks, spare and retired ones included
	Chunks  int   // number of chunks, retired ones included
}

// Options configures an Arena. All fields except SizeClasses are for tests; the zero value is
// an ordinary arena.
type Options struct {
	// SizeClasses gives each chunk blocks of a single size; see the package comment.
	SizeClasses bool

	// ChunkSize is the greatest size of an ordinary chunk in bytes; 0, or a value above 2 MiB,
	// means 2 MiB.
	ChunkSize int
	// MaxChunks is the greatest number of chunks; 0 means as many as an address can express.
	MaxChunks int
	// Unmap replaces the system call that unmaps a chunk's memory. It reports whether it did.
	Unmap func(m []byte) bool
	// Poison overwrites memory that is freed. The race detector always does that.
	Poison bool
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

// Stats returns the present figures. Only the writer may call it.
func (a *Arena) Stats() Stats {
	return Stats{
		Live: a.live, Garbage: a.used - a.live, Retired: a.retiredBytes, Mapped: a.mapped,
		Chunks: len(a.chunks) - 1 - len(a.freeNumbers),
	}
}

// At returns the record at an address. The record must be in use, or else the caller must have
// pinned or held it. The bytes are read-only. Any goroutine may call At.
func (a *Arena) At(at Addr) []byte {
	p := (*a.memory.Load())[at>>offsetBits][at&(maxChunk-1):]
	n, w := int(p[0]), 1
	if n >= 0x80 {
		u, uw := binary.Uvarint(p)
		n, w = int(u), uw
	}
	return p[w : w+n : w+n]
}

// Touch reads some bytes of each of the records, so that the processor loads the records from
// memory at the same time. The result has no meaning: it prevents that the compiler removes the
// reads. The addresses must be valid as for At.
func (a *Arena) Touch(records []Addr) (sum byte) {
	memory := *a.memory.Load()
	for _, at := range records {
		m, i := memory[at>>offsetBits], int(at&(maxChunk-1))
		if i+3*cacheLine < len(m) {
			sum ^= m[i] ^ m[i+cacheLine] ^ m[i+2*cacheLine] ^ m[i+3*cacheLine]
		}
	}
	return sum
}

// cacheLine is the number of bytes that a processor loads from memory at once.
const cacheLine = 64

// Append stores a copy of b, which must not be empty, and returns its address and the copy. It
// fails with ErrFull, or if the system has no memory for a chunk.
func (a *Arena) Append(b []byte) (Addr, []byte, error) { return a.appendTo(young, b) }

func (a *Arena) appendTo(to int, b []byte) (Addr, []byte, error) {
	at, p, err := a.alloc(to, len(b))
	copy(p, b)
	return at, p, err
}

// Alloc makes a record of n bytes, at least one. Their content is undefined: the caller fills
// them before any other goroutine can find the address. It fails as Append does.
func (a *Arena) Alloc(n int) (Addr, []byte, error) { return a.alloc(young, n) }

// UsableSize returns the greatest length of a record whose block is as large as that of a
// record of n bytes.
func (a *Arena) UsableSize(n int) int {
	need := a.BlockSize(n)
	return max(n, need-uvarintSize(need))
}

func (a *Arena) alloc(to, n int) (Addr, []byte, error) {
	need := a.BlockSize(n)
	at, ok := a.takeFree(need)
	if !ok {
		active := &a.active[to]
		if a.classes != nil {
			active = &a.sizeClass(need).active
		}
		number := *active
		if number == 0 || a.chunks[number].used+need > len((*a.memory.Load())[number]) {
			var err error
			if number, err = a.chunkWithRoom(active, need); err != nil {
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

// blockAlign is the unit of block sizes in bytes. Rounding lets a record that has changed a
// little take the block of another one. A free block needs 3 bytes for its header (see recycle).
const blockAlign = 1 << AlignBits

// uvarintSize returns the number of bytes of n written as a uvarint.
func uvarintSize(n int) int {
	w := 1
	for u := n; u >= 0x80; u >>= 7 {
		w++
	}
	return w
}

// BlockSize returns the size in bytes of the block of a record of n bytes.
func (a *Arena) BlockSize(n int) int {
	n += uvarintSize(n)
	if a.classes != nil {
		return classSize(n)
	}
	return (n + blockAlign - 1) &^ (blockAlign - 1)
}

// chunkWithRoom returns a chunk with room for a block of need bytes. That is a new active chunk,
// which it stores in *active after sealing the old one, or a chunk for this large block alone.
func (a *Arena) chunkWithRoom(active *uint32, need int) (uint32, error) {
	if need > a.chunkCap/8 {
		number, err := a.addChunk(need)
		if err == nil {
			a.chunks[number].sealed, a.chunks[number].recyclable = true, false
		}
		return number, err
	}
	// Active chunks are partly empty, so they must stay a small part of all memory.
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
	if old := *active; old != 0 {
		a.chunks[old].sealed = true
		a.retireIfEmpty(old)
	}
	*active = number
	return number, nil
}

// addChunk makes an empty chunk of size bytes and returns its number.
func (a *Arena) addChunk(size int) (uint32, error) {
	reuse := len(a.freeNumbers) > 0
	if !reuse && len(a.chunks) > a.limit {
		return 0, ErrFull
	}
	var m []byte
	if n := len(a.spare); size == a.chunkCap && n > 0 {
		m, a.spare, a.spareUsed = a.spare[n-1], a.spare[:n-1], true
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
		// A free block must not live for a full round of generation numbers: it would then
		// seem to belong to a newer chunk.
		a.clearFreeLists()
	}
	c := chunk{born: a.epoch.Load().number, generation: a.generation, recyclable: true}
	memory := *a.memory.Load()
	if reuse {
		number := a.freeNumbers[len(a.freeNumbers)-1]
		a.freeNumbers = a.freeNumbers[:len(a.freeNumbers)-1]
		memory[number], a.chunks[number] = m, c
		return number, nil
	}
	// Readers that hold the old slice header do not look for the new element.
	memory = append(memory, m)
	a.memory.Store(&memory)
	a.chunks = append(a.chunks, c)
	return uint32(len(a.chunks) - 1), nil
}

// FreeUnpublished frees a record that only the writer has seen. Its block can be used again at
// once.
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

// Free makes a record garbage. Readers that have pinned or held the arena may still use it. The
// owner removes all references to the address before the next Advance.
func (a *Arena) Free(at Addr) { a.FreeSize(at, len(a.At(at))) }

// FreeSize is Free for a record that is known to have n bytes. It does not read the record.
func (a *Arena) FreeSize(at Addr, n int) {
	number, need := uint32(at>>offsetBits), a.BlockSize(n)
	a.chunks[number].live -= need
	a.live -= int64(need)
	if a.isRecyclable(need) && a.chunks[number].recyclable {
		a.freed = append(a.freed, a.freeBlockAt(at))
	}
	a.retireIfEmpty(number)
}

// retireIfEmpty has the next Advance retire a sealed chunk that has no live records.
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

// FreeAll frees every record, as Free does for one. Before the next Advance the caller may take
// some of them back with Retain, and then must call RetireEmpty.
func (a *Arena) FreeAll() {
	for i := range a.chunks {
		if c := &a.chunks[i]; c.live > 0 {
			a.live -= int64(c.live)
			c.live = 0
		}
	}
}

// Retain puts a record back into use that FreeAll has freed.
func (a *Arena) Retain(at Addr) {
	need := a.BlockSize(len(a.At(at)))
	a.chunks[at>>offsetBits].live += need
	a.live += int64(need)
}

// RetireEmpty ends what FreeAll began: it retires the chunks of which no record was retained.
func (a *Arena) RetireEmpty() {
	for i := range a.chunks {
		a.retireIfEmpty(uint32(i))
	}
}

// Close unmaps all memory. No goroutine may use the arena or its records after that.
func (a *Arena) Close() {
	for _, m := range slices.Concat(*a.memory.Load(), a.spare, a.unmappable) {
		if m != nil {
			a.unmap(m)
		}
	}
	a.memory.Store(nil)
}
