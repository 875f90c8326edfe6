package replog

import (
	"errors"
	"fmt"
)

// Repair opens a log in which Open or Replay found damage, for a caller that can produce the lost
// records again. from is the offset of the snapshot that the caller continues from. The log ends
// before the first damage after from. If the log then does not cover from, a new log starts there.
// So Replay succeeds from that offset, and Recovery reports what was lost. Only damaged files of
// the log and the files after them are removed.
func Repair(dir string, from Offset, c Config) (*Log, error) {
	l, f, err := prepare(dir, c)
	if err != nil {
		return nil, err
	}
	f.repairing, f.repairFrom = true, from
	ok, _, err := f.selectGeneration()
	if err != nil {
		return nil, err
	}
	if ok && f.segments[0].start <= from && from <= f.segments[len(f.segments)-1].end {
		if err = l.useSegments(f); err == nil {
			err = errors.Join(l.writeSyncedMark(syncedMark{l.generation, l.synced}), l.Sync())
		}
	} else {
		f.result.Lost, f.result.Created = true, true
		if err = l.startGeneration(nextGeneration(f.lastGeneration), from); err == nil {
			err = l.removeOldGenerations()
		}
	}
	l.recovery = f.result
	return l.finishOpen(err)
}

// skippable reports whether a repair can ignore a segment, because next, the segment after it,
// starts at or before repairFrom.
func (f *dirScan) skippable(next segmentHeader) bool {
	return f.repairing && next.start <= f.repairFrom
}

// ExcludeDamaged excludes a damaged segment, and everything before it, from reading. e is the error
// that a reader returned. From then on the log starts after that segment. So a replica that needs
// it gets ErrTrimmed and resyncs fully once, instead of failing at the damage again and again. The
// excluded segments are removed as soon as Retain and the pins allow.
//
// It returns the new Start. If that is after Retain's offset, a restart would fail at the damage,
// so the caller must take a snapshot at once. Damage in a segment that the log no longer holds
// changes nothing.
func (l *Log) ExcludeDamaged(e *CorruptError) (Offset, error) {
	l.mu.Lock()
	for _, s := range l.segments {
		if s.path == e.File {
			l.readableFrom = max(l.readableFrom, s.end)
			// Readers may continue right after the damage, even if this segment still grows.
			if last := s.index[len(s.index)-1]; last.pos < s.size {
				s.index = append(s.index, recordPos{s.end, s.size})
			}
		}
	}
	start := l.startLocked()
	l.mu.Unlock()
	if err := l.removeSegments(start, l.keepBytes.Load()); err != nil {
		return start, fmt.Errorf("exclude damaged log: %w", err)
	}
	return start, nil
}

// startLocked returns the offset after which every byte on disk can be read.
func (l *Log) startLocked() Offset { return max(l.segments[0].start, l.readableFrom) }

// repairTail checks every record after repairFrom and cuts at the first damage.
func (f *dirScan) repairTail() error {
	f.result.Lost = f.result.Lost || f.markErr != nil
	n := len(f.segments)
	for i, s := range f.segments {
		if i < n-1 && f.segments[i+1].start <= f.repairFrom {
			continue
		}
		err := f.scanSegment(s, i < n-1)
		bad := (*badRecord)(nil)
		if err != nil && !errors.As(err, &bad) {
			return fmt.Errorf("check log segment %s: %w", s.path, err)
		}
		if bad != nil {
			f.result.Lost = true
			f.mark.offset = min(f.mark.offset, bad.end.offset)
			return f.truncateFrom(i, bad)
		}
	}
	end := f.segments[n-1].end
	f.result.Lost = f.result.Lost || end < f.mark.offset
	f.mark.offset = min(f.mark.offset, end)
	return f.removeStale()
}
