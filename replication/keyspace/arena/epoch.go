package arena

import (
	"bytes"
	"slices"
	"sync/atomic"
)

// Epoch counts the readers that began in one stretch of time. An arena ends its current epoch
// and begins another one when enough has been freed.
type Epoch struct {
	number  uint64
	readers atomic.Int64
}

// Pin keeps the records that can be found from now on, until Unpin of the returned epoch. Any
// goroutine may call it.
func (a *Arena) Pin() *Epoch {
	for {
		e := a.epoch.Load()
		e.readers.Add(1)
		if a.epoch.Load() == e {
			return e
		}
		// The epoch ended between the two lines, and the writer may have read the counter as zero.
		e.readers.Add(-1)
	}
}

// Unpin ends a Pin. It is called once for each.
func (e *Epoch) Unpin() { e.readers.Add(-1) }

// Hold keeps the records that were in use at the moment of a snapshot.
type Hold struct{ epoch uint64 }

// Hold keeps the records that are in use now, until ReleaseHold. Any goroutine may call it, but it
// must hold the owner's lock, so that the writer does not free or publish records meanwhile.
func (a *Arena) Hold() *Hold {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := &Hold{a.epoch.Load().number}
	a.holds = append(a.holds, h)
	return h
}

// ReleaseHold ends a hold. Any goroutine may call it.
func (a *Arena) ReleaseHold(h *Hold) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.holds, h); i >= 0 {
		a.holds = slices.Delete(a.holds, i, i+1)
		a.holdReleased.Store(true)
	}
}

// Advance retires the chunks that have become empty, ends the epoch if enough was freed, and
// reclaims the blocks and chunks that no reader and no hold needs any more. The writer calls it
// after it has removed all references to the records it freed. One call does a bounded amount of
// work. more reports whether another call could reclaim more now.
func (a *Arena) Advance() (more bool) {
	ends := len(a.retiring) > 0 || len(a.freed) >= batchSize
	if ends {
		a.endEpoch()
	}
	if len(a.retired) == 0 && len(a.limbo) == 0 && len(a.held) == 0 {
		return false
	}
	before := len(a.oldEpochs)
	for len(a.oldEpochs) > 0 && a.oldEpochs[0].readers.Load() == 0 {
		a.oldEpochs = a.oldEpochs[1:]
	}
	oldest := a.epoch.Load().number
	if len(a.oldEpochs) > 0 {
		oldest = a.oldEpochs[0].number
	}
	if a.holdReleased.Load() && a.holdReleased.Swap(false) {
		// Blocks that were kept for the released hold go back to limbo.
		a.limbo = append(a.held, a.limbo...)
		a.held = nil
		a.moreToReclaim = true
	}
	if ends || len(a.oldEpochs) != before || a.moreToReclaim {
		a.mu.Lock()
		a.recycleBlocks(oldest)
		a.reclaimChunks(oldest)
		a.mu.Unlock()
	}
	return a.moreToReclaim
}

// endEpoch moves what was freed in the current epoch to limbo and begins the next epoch.
func (a *Arena) endEpoch() {
	e := a.epoch.Load()
	for _, number := range a.retiring {
		c := &a.chunks[number]
		a.retired = append(a.retired, retiredChunk{number, c.born, e.number})
		a.used -= int64(c.used)
		a.retiredBytes += int64(len((*a.memory.Load())[number]))
	}
	a.retiring = a.retiring[:0]
	if len(a.freed) > 0 {
		a.limbo = append(a.limbo, batch{e.number, slices.Clone(a.freed)})
		a.freed = a.freed[:0]
	}
	a.oldEpochs = append(a.oldEpochs, e)
	a.epoch.Store(&Epoch{number: e.number + 1})
}

// One Advance releases chunks of about maxReclaimBytes, because unmapping a MiB takes some 30
// microseconds. If very many bytes are retired, it releases one part in reclaimShare of them.
const (
	maxReclaimBytes = 4 << 20
	reclaimShare    = 32
)

// reclaimChunks releases retired chunks that no reader since epoch `oldest` and no hold needs. The
// caller holds mu.
func (a *Arena) reclaimChunks(oldest uint64) {
	freed, most := 0, max(maxReclaimBytes, int(a.retiredBytes/reclaimShare))
	a.moreToReclaim = len(a.limbo) > 0 && a.limbo[0].died < oldest
	kept := a.retired[:0]
	for _, r := range a.retired {
		switch {
		case r.died >= oldest || a.isHeld(r.born, r.died):
			kept = append(kept, r)
		case freed >= most:
			kept = append(kept, r)
			a.moreToReclaim = true
		default:
			freed += len((*a.memory.Load())[r.number])
			a.freeChunk(r.number)
		}
	}
	a.retired = kept
}

// isHeld reports whether a snapshot holds what was in use from epoch `born` to epoch `died`.
func (a *Arena) isHeld(born, died uint64) bool {
	for _, h := range a.holds {
		if born <= h.epoch && h.epoch <= died {
			return true
		}
	}
	return false
}

// maxSpare is the number of released chunks whose memory is kept for new ones.
const maxSpare = 2

// freeChunk releases a chunk: its memory is kept as a spare or unmapped, its number used again.
func (a *Arena) freeChunk(number uint32) {
	memory := *a.memory.Load()
	m := memory[number]
	if a.poison {
		poison(m)
	}
	a.retiredBytes -= int64(len(m))
	if len(m) == a.chunkCap && len(a.spare) < maxSpare {
		a.spare, a.spareUsed = append(a.spare, m), true
	} else {
		a.unmapSpare(m)
	}
	memory[number] = nil
	a.chunks[number] = chunk{}
	a.freeNumbers = append(a.freeNumbers, number)
}

// unmapSpare unmaps the memory of a released chunk, or keeps it for reuse if that fails.
func (a *Arena) unmapSpare(m []byte) {
	a.mapped -= int64(len(m))
	if !a.unmap(m) {
		a.unmappable = append(a.unmappable, m)
	}
}

// TrimSpare unmaps the spare memory of released chunks if none of it was used since the last call.
func (a *Arena) TrimSpare() {
	if !a.spareUsed {
		for _, m := range a.spare {
			a.unmapSpare(m)
		}
		a.spare = nil
	}
	a.spareUsed = false
}

var poisoned = bytes.Repeat([]byte{0xdb}, 4<<10)

// poison overwrites memory that no reader may use any more.
func poison(m []byte) {
	for len(m) > 0 {
		m = m[copy(m, poisoned):]
	}
}
