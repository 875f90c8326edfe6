package arena

import (
	"math/bits"
	"slices"
)

// slab is the places of one length.
type sizeClass struct {
	active uint32      // the chunk that new ones come from, 0: none
	free   []freeBlock // free places
}

// maxSlabHoles is how many free places of one length are remembered. One that is not
// stays garbage until its chunk goes.
const maxClassFreeBlocks = 1 << 20

func (a *Arena) sizeClass(need int) *sizeClass {
	s := a.classes[need]
	if s == nil {
		s = &sizeClass{}
		a.classes[need] = s
	}
	return s
}

// slabLength rounds a length up: to 64 bytes up to 1 KiB, and to one of eight steps
// between powers of two beyond.
func classSize(n int) int {
	step := 64
	if n > 1<<10 {
		step = 1 << (bits.Len(uint(n-1)) - 4)
	}
	return (n + step - 1) / step * step
}

// Thin begins to empty chunks of which a part in `share` or more is garbage: none of their
// places is used again, and the owner stores what IsThin says elsewhere and frees it there.
// Chunks that a snapshot holds stay. It reports whether there are any.
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

// ThinHeld says whether a snapshot that has come since Thin holds a chunk that is being
// emptied: that frees nothing then, and takes room elsewhere.
func (a *Arena) DefragHeld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	return slices.ContainsFunc(a.sparse, func(number uint32) bool {
		c := &a.chunks[number]
		return c.sparse && a.isHeld(c.born, now)
	})
}

// IsThin says whether a record lies in a chunk that is being emptied.
func (a *Arena) NeedsMove(at Addr) bool { return a.chunks[at>>offsetBits].sparse }

// EndThin ends what Thin has begun. Of a chunk that is not empty yet places are used again.
func (a *Arena) EndDefrag() {
	for _, number := range a.sparse {
		if c := &a.chunks[number]; c.sparse {
			c.recyclable, c.sparse = c.sealed, false
		}
	}
	a.sparse = a.sparse[:0]
}
