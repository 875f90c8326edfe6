package arena

import (
	"bytes"
	"slices"
	"sync/atomic"
)

// Epoch counts the readers that began in one stretch of time.
type Epoch struct {
	number  uint64
	readers atomic.Int64
}

// Pin keeps what can be found from now on until Unpin. Any goroutine may call
// it.
func (a *Arena) Pin() *Epoch {
	for {
		e := a.epoch.Load()
		e.readers.Add(1)
		if a.epoch.Load() == e {
			return e
		}
		// The writer may have looked at the counter before.
		e.readers.Add(-1)
	}
}

// Unpin ends a Pin.
func (e *Epoch) Unpin() { e.readers.Add(-1) }

// Hold is the moment of a snapshot.
type Hold struct{ epoch uint64 }

// Hold keeps the records in use now, until ReleaseHold. Any goroutine may call it,
// but what they are must not change meanwhile: the owner's lock is held.
func (a *Arena) Hold() *Hold {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := &Hold{a.epoch.Load().number}
	a.holds = append(a.holds, h)
	return h
}

// ReleaseHold ends a hold.
func (a *Arena) ReleaseHold(h *Hold) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.holds, h); i >= 0 {
		a.holds = slices.Delete(a.holds, i, i+1)
		a.holdReleased = true
	}
}

// Advance retires the chunks that have become empty, and gives those and other
// places that were freed before to new records, as far as nobody can look at
// them any more. The owner calls it when what it freed cannot be found any more.
// It does a bounded amount of work, and says whether another call can do more.
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
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holdReleased {
		// What the hold has kept is looked at again.
		a.limbo = append(a.held, a.limbo...)
		a.held = nil
		a.moreToReclaim, a.holdReleased = true, false
	}
	if ends || len(a.oldEpochs) != before || a.moreToReclaim {
		a.recycleBlocks(oldest)
		a.reclaimChunks(oldest)
	}
	return a.moreToReclaim
}

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

// freeAtOnce bounds how many bytes of chunks one Advance frees: to unmap a MiB
// takes some 30 microseconds. Of very many it frees one part in freeShare.
const (
	maxReclaimBytes = 4 << 20
	reclaimShare    = 32
)

// reclaim frees retired chunks. It needs mu.
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

func (a *Arena) isHeld(born, died uint64) bool {
	for _, h := range a.holds {
		if born <= h.epoch && h.epoch <= died {
			return true
		}
	}
	return false
}

// maxSpare is how much memory is kept for chunks to come, as chunks.
const maxSpare = 2

func (a *Arena) freeChunk(number uint32) {
	memory := *a.memory.Load()
	m := memory[number]
	if a.poison {
		poison(m)
	}
	a.retiredBytes -= int64(len(m))
	if len(m) == a.chunkCap && len(a.spare) < maxSpare {
		a.spare = append(a.spare, m)
	} else {
		a.mapped -= int64(len(m))
		if !a.unmap(m) {
			a.unmappable = append(a.unmappable, m)
		}
	}
	memory[number] = nil
	a.chunks[number] = chunk{}
	a.freeNumbers = append(a.freeNumbers, number)
}

var poisoned = bytes.Repeat([]byte{0xdb}, 4<<10)

// poison overwrites memory that nobody may look at any more.
func poison(m []byte) {
	for len(m) > 0 {
		m = m[copy(m, poisoned):]
	}
}
