package arena

import (
	"math/bits"
	"slices"
)

// sizeClass holds the blocks of one size in an arena with size classes.
type sizeClass struct {
	active uint32      // the chunk that new blocks are cut from; 0: no chunk
	free   []freeBlock // the free list
}

// maxClassFreeBlocks is the greatest length of a size class's free list. A free block beyond it
// stays garbage until its chunk is released.
const maxClassFreeBlocks = 1 << 20

// sizeClass returns the class of blocks of need bytes, and makes it if it does not exist.
func (a *Arena) sizeClass(need int) *sizeClass {
	s := a.classes[need]
	if s == nil {
		s = &sizeClass{}
		a.classes[need] = s
	}
	return s
}

// classSize rounds a block size up to that of its class: to a multiple of 64 bytes up to 1 KiB,
// and to one of eight steps between two powers of two above that.
func classSize(n int) int {
	step := 64
	if n > 1<<10 {
		step = 1 << (bits.Len(uint(n-1)) - 4)
	}
	return (n + step - 1) / step * step
}

// StartDefrag marks as sparse the full chunks of which at least one part in `share` is garbage.
// Their free blocks are not used any more. The owner then copies every record for which NeedsMove
// is true to a new record and frees the old one. Chunks that a snapshot holds are skipped.
// It reports whether any chunk was marked.
func (a *Arena) StartDefrag(share int) bool {
	a.EndDefrag()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	for i := range a.chunks {
		c := &a.chunks[i]
		if c.sealed && c.recyclable && c.live*share <= c.used*(share-1) && !a.isHeld(c.born, now) {
			c.recyclable, c.sparse = false, true
			a.sparse = append(a.sparse, uint32(i))
		}
	}
	return len(a.sparse) > 0
}

// DefragHeld reports whether a snapshot that began after StartDefrag holds a sparse chunk. Moving
// records would then free nothing and take more memory, so the owner should call EndDefrag.
func (a *Arena) DefragHeld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	return slices.ContainsFunc(a.sparse, func(number uint32) bool {
		c := &a.chunks[number]
		return c.sparse && a.isHeld(c.born, now)
	})
}

// NeedsMove reports whether a record lies in a chunk that defragmentation is to empty.
func (a *Arena) NeedsMove(at Addr) bool { return a.chunks[at>>offsetBits].sparse }

// EndDefrag ends what StartDefrag began. Free blocks of chunks that are not empty yet may be used
// again.
func (a *Arena) EndDefrag() {
	for _, number := range a.sparse {
		if c := &a.chunks[number]; c.sparse {
			c.recyclable, c.sparse = c.sealed, false
		}
	}
	a.sparse = a.sparse[:0]
}
