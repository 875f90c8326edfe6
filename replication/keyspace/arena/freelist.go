package arena

import "encoding/binary"

const (
	// maxRecycledSize is the size in bytes of the largest block that goes to a free list in an
	// arena without size classes. Larger blocks wait for compaction.
	maxRecycledSize = 1024
	// maxFreeBlocks is the greatest length of a free list in an arena without size classes.
	maxFreeBlocks = 64 << 10
	// batchSize is the number of freed records that ends an epoch.
	batchSize = 256
	// maxFreeScan is the number of stale free blocks that one allocation skips at most.
	maxFreeScan = 256
	// maxBatchesPerAdvance is the number of limbo batches that one Advance looks at.
	maxBatchesPerAdvance = 8

	generationBits = 64 - AddrBits
)

// freeBlock is the address of a freed block below the generation of its chunk. It is stale once
// that chunk was released or is being emptied.
type freeBlock uint64

// batch is the blocks that were freed in one epoch.
type batch struct {
	died   uint64 // the epoch
	blocks []freeBlock
}

func (h freeBlock) addr() Addr { return Addr(h & (1<<AddrBits - 1)) }

// freeBlockAt returns the free block of an address in a current chunk.
func (a *Arena) freeBlockAt(at Addr) freeBlock {
	return freeBlock(at) | freeBlock(a.chunks[at>>offsetBits].generation)<<AddrBits
}

// isCurrent reports whether a free block may be used: its chunk is neither released nor being
// emptied.
func (a *Arena) isCurrent(h freeBlock) bool {
	c := &a.chunks[h.addr()>>offsetBits]
	return c.recyclable && c.generation == uint32(h>>AddrBits)
}

// isRecyclable reports whether blocks of this size go to a free list.
func (a *Arena) isRecyclable(need int) bool {
	if a.classes != nil {
		return need <= a.chunkCap/8
	}
	return need <= maxRecycledSize
}

// freeList returns the free list for a recyclable block size, and its greatest length.
func (a *Arena) freeList(need int) (list *[]freeBlock, most int) {
	if a.classes != nil {
		return &a.sizeClass(need).free, maxClassFreeBlocks
	}
	return &a.freeLists[need/blockAlign], maxFreeBlocks
}

// takeFree removes a free block of exactly need bytes from its list, if there is one.
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

// recycle puts a block on its free list, unless the list is full. In an arena without size classes
// it also writes the header of a free block, so that compaction skips the block.
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

// clearFreeLists forgets all free blocks. They stay garbage until compaction.
func (a *Arena) clearFreeLists() {
	clear(a.freeLists[:])
	for _, s := range a.classes {
		s.free = nil
	}
	a.freed = a.freed[:0]
	a.limbo, a.held = nil, nil
}

// recycleBlocks puts blocks from limbo on the free lists, some batches at a time, up to the epoch
// before `oldest`, the oldest with readers. Blocks that a snapshot holds go to a.held instead. The
// caller holds mu.
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
