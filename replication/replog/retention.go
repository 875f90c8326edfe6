package replog

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Pin keeps the log from an offset on, whatever Keep and Trim allow, until it is released.
type Pin struct {
	log *Log
	off Offset // guarded by log.mu
}

// Pin keeps everything after off, where the log still has it, until the pin is released.
func (l *Log) Pin(off Offset) *Pin {
	p := &Pin{l, off}
	l.mu.Lock()
	l.pins[p] = struct{}{}
	l.mu.Unlock()
	return p
}

// Offset is where the log that the pin keeps begins.
func (p *Pin) Offset() Offset {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.off
}

// Advance gives back what lies before off. An offset that the pin has passed already changes
// nothing.
func (p *Pin) Advance(off Offset) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.off = max(p.off, off)
}

// Release ends the pin. It may be called again.
func (p *Pin) Release() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	delete(p.log.pins, p)
}

// SetKeep changes how many bytes of segment files are kept, with the meaning of Config.Keep. What
// the new bound does not allow is dropped soon after, in the background.
func (l *Log) SetKeep(bytes int64) {
	if bytes == 0 {
		bytes = DefaultKeep
	}
	l.keepBytes.Store(bytes)
	select {
	case l.wakeBackground <- struct{}{}:
	default:
	}
}

// smallestSegment bounds how much a small Keep shrinks segments: each costs a sync.
const smallestSegment = 1 << 20

// segmentLimit is the size at which a segment is complete.
func (l *Log) segmentLimit() int64 {
	keep := l.keepBytes.Load()
	if keep < 0 {
		return l.config.SegmentSize
	}
	return min(l.config.SegmentSize, max(keep/4, smallestSegment))
}

// Size is how many bytes the segment files hold.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var size int64
	for _, s := range l.segments {
		size += s.size
	}
	return size
}

// Complete ends the newest segment, if that holds more than a new one would take of the volume. The
// log up to here can then be dropped as soon as nothing needs it, whatever is appended meanwhile. A
// volume without the room changes nothing. Only the goroutine that calls Append may call it.
func (l *Log) Complete() error {
	l.mu.Lock()
	newest, err := l.segments[len(l.segments)-1], l.writableLocked()
	l.mu.Unlock()
	if err != nil || newest.size <= 2*(segmentHeaderSize+l.config.Reserve) {
		return err
	}
	if _, err = l.roll(newest); errors.As(err, new(*FullError)) {
		return nil
	}
	return err
}

// Droppable is the end of the oldest segment, and whether that could be dropped now, however much
// Keep allows, if no pin kept it. The newest segment is completed for that if there is no other.
// Only the goroutine that calls Append may call it.
func (l *Log) Droppable() (end Offset, ok bool, err error) {
	l.mu.Lock()
	end, retain, single := l.segments[0].end, l.retain, len(l.segments) == 1
	l.mu.Unlock()
	if end > retain {
		return 0, false, nil
	}
	if single {
		if err := l.Complete(); err != nil {
			return 0, false, err
		}
	}
	if err := l.sync(0, false); err != nil { // what is not durable is not dropped
		return 0, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return end, len(l.segments) > 1, l.writableLocked()
}

// Retain says that a restart needs the log from off on: the newest durable snapshot's offset.
// Neither Keep nor Trim drops anything after it. Until the first call it is what Start was at Open,
// so nothing is dropped at all. It may be lowered, too.
func (l *Log) Retain(off Offset) error {
	l.mu.Lock()
	l.retain = off
	l.mu.Unlock()
	return l.drop(maxStart, l.keepBytes.Load())
}

// Trim drops the segments that lie wholly before keepFrom, Retain's offset and every pin, whatever
// Keep allows.
func (l *Log) Trim(keepFrom Offset) error {
	return l.drop(keepFrom, 0)
}

// expiredLocked reports whether the i-th segment, which is not the newest, is past KeepAge. One whose
// age is not known counts from Open.
func (l *Log) expiredLocked(i int, now time.Time) bool {
	completed := l.segments[i+1].begun
	if completed.IsZero() {
		completed = l.opened
	}
	return l.config.KeepAge > 0 && now.Sub(completed) > l.config.KeepAge
}

// drop removes the oldest segments, as long as there is more than keep bytes (negative: any number)
// or they are too old or condemned, up to limit, Retain's offset and the pins.
func (l *Log) drop(limit Offset, keep int64) error {
	l.dropMu.Lock()
	defer l.dropMu.Unlock()
	now := time.Now()
	l.mu.Lock()
	if err := l.writableLocked(); err != nil {
		l.mu.Unlock()
		return err
	}
	limit = min(limit, l.retain)
	for p := range l.pins {
		limit = min(limit, p.off)
	}
	var size int64
	for _, s := range l.segments {
		size += s.size
	}
	// What is not durable stays: its file is still open, and recovery counts on the last two.
	n := 0
	for ; n < len(l.segments)-1-len(l.rolled) && l.segments[n].end <= limit; n++ {
		large := keep >= 0 && size > keep
		if !large && !l.expiredLocked(n, now) && l.segments[n].end > l.readableFrom {
			break
		}
		size -= l.segments[n].size
	}
	dropped := slices.Clone(l.segments[:n])
	l.segments = slices.Delete(l.segments, 0, n)
	l.mu.Unlock()
	for _, s := range dropped {
		if err := l.config.FS.Remove(s.path); err != nil {
			return l.fail(fmt.Errorf("remove segment: %w", err))
		}
	}
	return nil
}
