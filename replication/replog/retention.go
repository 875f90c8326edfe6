package replog

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Pin keeps the log from an offset on until it is released, whatever Keep and Trim allow.
type Pin struct {
	log *Log
	off Offset // guarded by log.mu
}

// Pin keeps every byte after off that the log still holds, until the pin is released.
func (l *Log) Pin(off Offset) *Pin {
	p := &Pin{l, off}
	l.mu.Lock()
	l.pins[p] = struct{}{}
	l.mu.Unlock()
	return p
}

// Offset returns the offset after which the pin keeps the log.
func (p *Pin) Offset() Offset {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.off
}

// Advance moves the pin forward to off, so that older bytes may be removed. An offset that the pin
// has already passed changes nothing.
func (p *Pin) Advance(off Offset) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.off = max(p.off, off)
}

// Release removes the pin. Later calls change nothing.
func (p *Pin) Release() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	delete(p.log.pins, p)
}

// SetKeep changes how many bytes of segment files are kept, with the meaning of Config.Keep.
// Segments over the new limit are removed soon after, in the background.
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

// smallestSegment is the least size to which a small Keep reduces segments, because each segment
// costs a sync.
const smallestSegment = 1 << 20

// segmentLimit returns the size in bytes at which a segment is completed.
func (l *Log) segmentLimit() int64 {
	keep := l.keepBytes.Load()
	if keep < 0 {
		return l.config.SegmentSize
	}
	return min(l.config.SegmentSize, max(keep/4, smallestSegment))
}

// Size returns how many bytes the segment files hold.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var size int64
	for _, s := range l.segments {
		size += s.size
	}
	return size
}

// CompleteSegment ends the newest segment, so that the log up to here can be removed once nothing
// needs it, whatever is appended meanwhile. Nothing changes if the segment holds less than a new
// one would take of the volume, or if the volume lacks the room for a new one. Only the goroutine
// that calls Append may call it.
func (l *Log) CompleteSegment() error {
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

// Trimmable returns the offset after the oldest segment. ok is true if Trim could remove that
// segment now, pins aside: a restart does not need it, and another segment follows. If the log has
// only one segment, Trimmable completes it first. Only the goroutine that calls Append may call it.
func (l *Log) Trimmable() (end Offset, ok bool, err error) {
	l.mu.Lock()
	end, retain, single := l.segments[0].end, l.retain, len(l.segments) == 1
	l.mu.Unlock()
	if end > retain {
		return 0, false, nil
	}
	if single {
		if err := l.CompleteSegment(); err != nil {
			return 0, false, err
		}
	}
	if err := l.sync(0, false); err != nil { // only durable segments can be removed
		return 0, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return end, len(l.segments) > 1, l.writableLocked()
}

// Retain sets the offset from which a restart needs the log: that of the newest durable snapshot.
// Neither Keep nor Trim removes anything after it. Before the first call it is the log's Start at
// Open, so nothing is removed. The offset may also be lowered.
func (l *Log) Retain(off Offset) error {
	l.mu.Lock()
	l.retain = off
	l.mu.Unlock()
	return l.removeSegments(maxStart, l.keepBytes.Load())
}

// Trim removes the segments that end at or before keepFrom, Retain's offset and every pin,
// regardless of Keep.
func (l *Log) Trim(keepFrom Offset) error {
	return l.removeSegments(keepFrom, 0)
}

// expiredLocked reports whether the i-th segment, which must not be the newest, is past KeepAge.
// The age of a segment without a known time counts from Open.
func (l *Log) expiredLocked(i int, now time.Time) bool {
	completed := l.segments[i+1].begun
	if completed.IsZero() {
		completed = l.opened
	}
	return l.config.KeepAge > 0 && now.Sub(completed) > l.config.KeepAge
}

// removeSegments removes the oldest segments while the log is larger than keep bytes (a negative
// keep is no limit), or they are past KeepAge or unreadable. It stops at limit, Retain's offset and
// the pins.
func (l *Log) removeSegments(limit Offset, keep int64) error {
	l.removeMu.Lock()
	defer l.removeMu.Unlock()
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
	// Segments that are not durable stay: their files are open, and recovery scans the last two.
	n := 0
	for ; n < len(l.segments)-1-len(l.rolled) && l.segments[n].end <= limit; n++ {
		large := keep >= 0 && size > keep
		if !large && !l.expiredLocked(n, now) && l.segments[n].end > l.readableFrom {
			break
		}
		size -= l.segments[n].size
	}
	removed := slices.Clone(l.segments[:n])
	l.segments = slices.Delete(l.segments, 0, n)
	l.mu.Unlock()
	for _, s := range removed {
		if err := l.config.FS.Remove(s.path); err != nil {
			return l.fail(fmt.Errorf("remove segment: %w", err))
		}
	}
	return nil
}
