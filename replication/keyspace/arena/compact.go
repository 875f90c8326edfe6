package arena

import "encoding/binary"

// ExcessGarbage returns the bytes of garbage above one part in `share` of all blocks, and above
// a minimum below which compaction is not worth its cost. The result may be negative.
func (a *Arena) ExcessGarbage(share int64) int64 {
	return a.used - a.live - max(a.used/share, int64(min(firstChunk, a.chunkCap/2)))
}

// SelectVictim chooses the chunk to compact: the one with the largest part of garbage, if that is
// at least one part in `share`. A compaction that has begun continues. It reports whether there
// is a chunk to compact. Chunks that a snapshot holds are skipped: moving their records would
// free nothing. Not for arenas with size classes.
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
	a.chunks[a.victim].recyclable = false // without a victim this sets chunk 0, which is not used
	return a.victim != 0
}

// NextRecord returns the next record of the chunk that SelectVictim chose, whether or not it is
// in use, and the size of its block in bytes. record is nil for a free block. ok is false at the
// end of the chunk, or if there is no such chunk.
func (a *Arena) NextRecord() (at Addr, record []byte, size int, ok bool) {
	if a.victim == 0 {
		return 0, nil, 0, false
	}
	if a.victimOffset == a.chunks[a.victim].used {
		a.chunks[a.victim].recyclable = true // the owner has not moved all records
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

// Move stores a copy of a record that NextRecord returned. The owner replaces its reference to the
// record by the new address and frees the record. It fails as Append does.
func (a *Arena) Move(record []byte) (Addr, error) {
	at, _, err := a.appendTo(survivor, record)
	return at, err
}
