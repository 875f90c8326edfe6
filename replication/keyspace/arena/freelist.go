package arena

import "encoding/binary"

const (
	// maxSpan is the longest place that is used again by itself; a longer one
	// waits for compaction. In bytes.
	maxRecycledSize = 1024
	// maxHoles is how many free places of one length are remembered.
	maxFreeBlocks = 64 << 10
	// batchSize is how many records are freed in an epoch before it ends.
	batchSize = 256
	// holesAtOnce bounds how many places that have gone with their chunks are passed
	// over in search of one.
	maxFreeScan = 256
	// batchesAtOnce bounds what one Advance looks at.
	maxBatchesPerAdvance = 8

	generationBits = 64 - AddrBits
)

// hole is a free place: its address, under the generation of its chunk. Once
// the chunk has gone, or is being compacted, it means nothing.
type freeBlock uint64

// batch is holes that were freed in one epoch.
type batch struct {
	died   uint64
	blocks []freeBlock
}

func (h freeBlock) addr() Addr { return Addr(h & (1<<AddrBits - 1)) }

func (a *Arena) freeBlockAt(at Addr) freeBlock {
	return freeBlock(at) | freeBlock(a.chunks[at>>offsetBits].generation)<<AddrBits
}

// valid asks whether a hole is still one.
func (a *Arena) isCurrent(h freeBlock) bool {
	c := &a.chunks[h.addr()>>offsetBits]
	return c.recyclable && c.generation == uint32(h>>AddrBits)
}

// reusable asks whether places of a length are used again one by one.
func (a *Arena) isRecyclable(need int) bool {
	if a.classes != nil {
		return need <= a.chunkCap/8
	}
	return need <= maxRecycledSize
}

// holesOf returns the free places of a reusable length, and how many are remembered.
func (a *Arena) freeList(need int) (list *[]freeBlock, most int) {
	if a.classes != nil {
		return &a.sizeClass(need).free, maxClassFreeBlocks
	}
	return &a.freeLists[need/blockAlign], maxFreeBlocks
}

// hole takes a free place of just so many bytes.
func (a *Arena) takeFree(need int) (Addr, bool) {
	if !a.isRecyclable(need) {
		return 0, false
	}
	list, _ := a.freeList(need)
	n := len(*list)
	for least := max(0, n-maxFreeScan); n > least; n-- {
		h := (*list)[n-1]
		*list = (*list)[:n-1]
		if a.isCurrent(h) {
			return h.addr(), true
		}
	}
	return 0, false
}

// giveBack lets a place be used again, and marks it so that compaction passes
// it by.
func (a *Arena) recycle(h freeBlock, need int) {
	at := h.addr()
	p := (*a.memory.Load())[at>>offsetBits][at&(maxChunk-1):]
	if a.poison {
		poison(p[:need])
	}
	if a.classes == nil {
		p[0] = 0
		binary.LittleEndian.PutUint16(p[1:], uint16(need/blockAlign))
	}
	if list, most := a.freeList(need); len(*list) < most {
		*list = append(*list, h)
	}
}

func (a *Arena) clearFreeLists() {
	clear(a.freeLists[:])
	for _, s := range a.classes {
		s.free = nil
	}
	a.freed = a.freed[:0]
	a.limbo, a.held = nil, nil
}

// settle gives back the holes of batches that nobody can look at, some at a
// time. Those that a snapshot holds go round. It needs mu.
func (a *Arena) recycleBlocks(oldest uint64) {
	for range min(len(a.limbo), maxBatchesPerAdvance) {
		b := a.limbo[0]
		if b.died >= oldest {
			return
		}
		a.limbo = a.limbo[1:]
		kept := b.blocks[:0]
		for _, h := range b.blocks {
			switch {
			case !a.isCurrent(h):
			case a.isHeld(a.chunks[h.addr()>>offsetBits].born, b.died):
				kept = append(kept, h)
			default:
				a.recycle(h, a.BlockSize(len(a.At(h.addr()))))
			}
		}
		if len(kept) > 0 {
			a.held = append(a.held, batch{b.died, kept})
		}
	}
}
