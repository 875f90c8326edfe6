package replog

import (
	"errors"
	"fmt"
)

// Repair opens a log in which Open or Replay found damage that a caller needs not: it can make the lost records again. The
// log ends before the first damage after from, which is the offset of the snapshot that the caller goes on from; where it does
// not reach from that way, it begins anew there. So Replay succeeds from that offset, and Recovery says whether anything is lost. Only files of
// the log are removed, and only damaged ones and those after them.
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
		f.result.Lost, f.result.Began = true, true
		if err = l.startGeneration(nextGeneration(f.lastGeneration), from); err == nil {
			err = l.removeOldGenerations()
		}
	}
	l.recovery = f.result
	return l.finishOpen(err)
}

// skippable reports whether a repair need not look at a segment: the one after it begins at or before the offset to go on from.
func (f *dirScan) skippable(next segmentHeader) bool { return f.repairing && next.start <= f.repairFrom }

// DropDamaged says what a reader met: nothing up to the end of that segment can be read any more. From now on the log begins after it, so that
// a replica that needs it is told ErrTrimmed and resyncs fully, once, where it would fail at the damage again and again. What lies
// before is dropped as soon as Retain and the pins allow. It returns the new Start. If that is after Retain's offset, a
// restart would fail at the damage: take a snapshot now. Damage that the log does not hold any more changes nothing.
func (l *Log) DropDamaged(e *CorruptError) (Offset, error) {
	l.mu.Lock()
	for _, s := range l.segments {
		if s.path == e.File {
			l.readableFrom = max(l.readableFrom, s.end)
			// Reading goes on behind the damage although the segment does.
			if last := s.index[len(s.index)-1]; last.pos < s.size {
				s.index = append(s.index, recordPos{s.end, s.size})
			}
		}
	}
	start := l.startLocked()
	l.mu.Unlock()
	if err := l.drop(start, l.keepBytes.Load()); err != nil {
		return start, fmt.Errorf("drop damaged log: %w", err)
	}
	return start, nil
}

// startLocked is the offset after which everything can be read, on disk.
func (l *Log) startLocked() Offset { return max(l.segments[0].start, l.readableFrom) }

// repairTail checks every record after f.from and cuts at the first damage.
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
