package arena

import "math/bits"

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
