package arena

import "encoding/binary"

const (
	// maxSpan is the longest place that is used again by itself; a longer one
	// waits for compaction. In bytes.
	maxSpan = 1024
	// maxHoles is how many free places of one length are remembered.
	maxHoles = 64 << 10
	// batchSize is how many records are freed in an epoch before it ends.
	batchSize = 256
	// holesAtOnce bounds how many places that have gone with their chunks are passed
	// over in search of one.
	holesAtOnce = 256
	// batchesAtOnce bounds what one Advance looks at.
	batchesAtOnce = 8

	generationBits = 64 - AddrBits
)

// hole is a free place: its address, under the generation of its chunk. Once
// the chunk has gone, or is being compacted, it means nothing.
type hole uint64

// batch is holes that were freed in one epoch.
type batch struct {
	died  uint64
	holes []hole
}

func (h hole) at() Addr { return Addr(h & (1<<AddrBits - 1)) }

func (a *Arena) holeAt(at Addr) hole {
	return hole(at) | hole(a.chunks[at>>offsetBits].generation)<<AddrBits
}

// valid asks whether a hole is still one.
func (a *Arena) valid(h hole) bool {
	c := &a.chunks[h.at()>>offsetBits]
	return c.open && c.generation == uint32(h>>AddrBits)
}

// reusable asks whether places of a length are used again one by one.
func (a *Arena) reusable(need int) bool {
	if a.slabs != nil {
		return need <= a.chunkCap/8
	}
	return need <= maxSpan
}

// holesOf returns the free places of a reusable length, and how many are remembered.
func (a *Arena) holesOf(need int) (list *[]hole, most int) {
	if a.slabs != nil {
		return &a.slab(need).holes, maxSlabHoles
	}
	return &a.holes[need/grain], maxHoles
}

// hole takes a free place of just so many bytes.
func (a *Arena) hole(need int) (Addr, bool) {
	if !a.reusable(need) {
		return 0, false
	}
	list, _ := a.holesOf(need)
	n := len(*list)
	for least := max(0, n-holesAtOnce); n > least; n-- {
		h := (*list)[n-1]
		*list = (*list)[:n-1]
		if a.valid(h) {
			return h.at(), true
		}
	}
	return 0, false
}

// giveBack lets a place be used again, and marks it so that compaction passes
// it by.
func (a *Arena) giveBack(h hole, need int) {
	at := h.at()
	p := (*a.memory.Load())[at>>offsetBits][at&(maxChunk-1):]
	if a.poison {
		poison(p[:need])
	}
	if a.slabs == nil {
		p[0] = 0
		binary.LittleEndian.PutUint16(p[1:], uint16(need/grain))
	}
	if list, most := a.holesOf(need); len(*list) < most {
		*list = append(*list, h)
	}
}

func (a *Arena) forgetHoles() {
	clear(a.holes[:])
	for _, s := range a.slabs {
		s.holes = nil
	}
	a.pending = a.pending[:0]
	a.batches, a.kept = nil, nil
}

// settle gives back the holes of batches that nobody can look at, some at a
// time. Those that a snapshot holds go round. It needs mu.
func (a *Arena) settle(oldest uint64) {
	for range min(len(a.batches), batchesAtOnce) {
		b := a.batches[0]
		if b.died >= oldest {
			return
		}
		a.batches = a.batches[1:]
		kept := b.holes[:0]
		for _, h := range b.holes {
			switch {
			case !a.valid(h):
			case a.held(a.chunks[h.at()>>offsetBits].born, b.died):
				kept = append(kept, h)
			default:
				a.giveBack(h, a.Span(len(a.At(h.at()))))
			}
		}
		if len(kept) > 0 {
			a.kept = append(a.kept, batch{b.died, kept})
		}
	}
}
