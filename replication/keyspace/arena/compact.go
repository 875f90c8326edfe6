package arena

import "encoding/binary"

// Excess returns how much more garbage there is than one part in `share` of all
// records, and than is worth the trouble, in bytes.
func (a *Arena) ExcessGarbage(share int64) int64 {
	return a.used - a.live - max(a.used/share, int64(min(firstChunk, a.chunkCap/2)))
}

// Select begins the compaction of the chunk with the largest part of garbage,
// if it is at least one in `share`, and goes on with one that was begun. Chunks
// that a snapshot holds stay: moving their records would free nothing.
func (a *Arena) SelectVictim(share int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.epoch.Load().number
	if a.victim != 0 {
		if !a.isHeld(a.chunks[a.victim].born, now) {
			return true
		}
		a.chunks[a.victim].recyclable = true
		a.victim = 0
	}
	best := 1.0 - 1.0/float64(share)
	for i := range a.chunks {
		c := &a.chunks[i]
		if !c.sealed || float64(c.live) > best*float64(c.used) || a.isHeld(c.born, now) {
			continue
		}
		best = float64(c.live) / float64(c.used)
		a.victim = uint32(i)
	}
	a.victimOffset = 0
	a.chunks[a.victim].recyclable = false // for number 0 it means nothing
	return a.victim != 0
}

// Next returns the next record of the chunk being compacted, used or not, or nil
// for a free place, and what it takes in bytes; false at the end of the chunk.
func (a *Arena) NextRecord() (at Addr, record []byte, size int, ok bool) {
	if a.victim == 0 {
		return 0, nil, 0, false
	}
	if a.victimOffset == a.chunks[a.victim].used {
		a.chunks[a.victim].recyclable = true // the owner has left something there
		a.victim = 0
		return 0, nil, 0, false
	}
	p := (*a.memory.Load())[a.victim][a.victimOffset:]
	if p[0] == 0 {
		size = int(binary.LittleEndian.Uint16(p[1:])) * blockAlign
		a.victimOffset += size
		return 0, nil, size, true
	}
	n, w := int(p[0]), 1
	if n >= 0x80 {
		u, uw := binary.Uvarint(p)
		n, w = int(u), uw
	}
	at = Addr(a.victim)<<offsetBits | Addr(a.victimOffset)
	size = a.BlockSize(n)
	a.victimOffset += size
	return at, p[w : w+n : w+n], size, true
}

// Move stores a copy of a record that Next returned; the owner refers to that
// from now on and frees the old one.
func (a *Arena) Move(record []byte) (Addr, error) {
	at, _, err := a.appendTo(survivor, record)
	return at, err
}
