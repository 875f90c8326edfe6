package arena

import (
	"math/bits"
	"slices"
)

// slab is the places of one length.
type slab struct {
	head  uint32 // the chunk that new ones come from, 0: none
	holes []hole // free places
}

// maxSlabHoles is how many free places of one length are remembered. One that is not
// stays garbage until its chunk goes.
const maxSlabHoles = 1 << 20

func (a *Arena) slab(need int) *slab {
	s := a.slabs[need]
	if s == nil {
		s = &slab{}
		a.slabs[need] = s
	}
	return s
}

// slabLength rounds a length up: to 64 bytes up to 1 KiB, and to one of eight steps
// between powers of two beyond.
func slabLength(n int) int {
	step := 64
	if n > 1<<10 {
		step = 1 << (bits.Len(uint(n-1)) - 4)
	}
	return (n + step - 1) / step * step
}

// Thin begins to empty chunks of which a part in `share` or more is garbage: none of their
// places is used again, and the owner stores what IsThin says elsewhere and frees it there.
// Chunks that a snapshot holds stay. It reports whether there are any.
func (a *Arena) Thin(share int) bool {
	a.EndThin()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	for i := range a.chunks {
		c := &a.chunks[i]
		if c.sealed && c.open && c.live*share <= c.used*(share-1) && !a.held(c.born, now) {
			c.open, c.thin = false, true
			a.thin = append(a.thin, uint32(i))
		}
	}
	return len(a.thin) > 0
}

// ThinHeld says whether a snapshot that has come since Thin holds a chunk that is being
// emptied: that frees nothing then, and takes room elsewhere.
func (a *Arena) ThinHeld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	return slices.ContainsFunc(a.thin, func(number uint32) bool {
		c := &a.chunks[number]
		return c.thin && a.held(c.born, now)
	})
}

// IsThin says whether a record lies in a chunk that is being emptied.
func (a *Arena) IsThin(at Addr) bool { return a.chunks[at>>offsetBits].thin }

// EndThin ends what Thin has begun. Of a chunk that is not empty yet places are used again.
func (a *Arena) EndThin() {
	for _, number := range a.thin {
		if c := &a.chunks[number]; c.thin {
			c.open, c.thin = c.sealed, false
		}
	}
	a.thin = a.thin[:0]
}
