package stream

import (
	"fmt"
	"slices"
	"time"
)

// Synced is the offset up to which the log is known to be durable.
func (l *Log) Synced() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Sync makes everything appended so far durable. An error is final, as with Append.
func (l *Log) Sync() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncHeld(l.End(), true) // the end is asked for here, since Restart may have lowered it meanwhile
}

// sync makes everything up to target durable: the full segments and, if asked, the newest one.
func (l *Log) sync(target Offset, newest bool) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncHeld(target, newest)
}

// syncHeld is sync for callers that hold syncMu.
func (l *Log) syncHeld(target Offset, newest bool) error {
	l.mu.Lock()
	err, files, rolled, dirChanged, generation := l.usableLocked(), slices.Clone(l.rolled), len(l.rolled), l.dirChanged, l.generation
	if newest {
		files = append(files, l.file)
	} else {
		target = l.segments[len(l.segments)-1].start
	}
	done := target <= l.synced && rolled == 0
	l.mu.Unlock()
	if err != nil || done {
		return err
	}
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return l.fail(fmt.Errorf("sync segment: %w", err))
		}
	}
	if dirChanged {
		if err := l.config.FS.SyncDir(l.dir); err != nil {
			return l.fail(fmt.Errorf("sync log folder: %w", err))
		}
	}
	l.mu.Lock()
	l.rolled = slices.Delete(l.rolled, 0, rolled)
	l.dirChanged = l.dirChanged && len(l.rolled) > 0
	l.synced = max(l.synced, target)
	m := syncedMark{generation, l.synced}
	l.mu.Unlock()
	for _, f := range files[:rolled] {
		if err := f.Close(); err != nil {
			return l.fail(fmt.Errorf("close segment: %w", err))
		}
	}
	if err := l.writeMark(m); err != nil {
		return l.fail(err)
	}
	return nil
}

// keep is the log's one goroutine: it syncs, and drops what Keep no longer holds.
func (l *Log) keep() {
	var second <-chan time.Time
	if l.config.Fsync == EverySecond {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		second = t.C
	}
	var aged <-chan time.Time
	if l.config.KeepAge > 0 {
		t := time.NewTicker(min(max(l.config.KeepAge/16, time.Second), time.Minute))
		defer t.Stop()
		aged = t.C
	}
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-aged:
			err = l.drop(maxStart, l.config.Keep)
		case <-second:
			err = l.Sync()
		case <-l.kick:
			if err = l.sync(0, false); err == nil {
				err = l.drop(maxStart, l.config.Keep)
			}
		}
		if err != nil {
			return // it is final, and Failed and Append tell
		}
	}
}

// Retain says that a restart needs the log from off on: the newest durable snapshot's offset. Neither Keep nor Trim
// drops anything after it. Until the first call it is what Start was at Open, so nothing is dropped at all. It may be lowered, too.
func (l *Log) Retain(off Offset) error {
	l.mu.Lock()
	l.retain = off
	l.mu.Unlock()
	return l.drop(maxStart, l.config.Keep)
}

// Trim drops the segments that lie wholly before keepFrom, Retain's offset and every pin, whatever Keep allows.
func (l *Log) Trim(keepFrom Offset) error {
	return l.drop(keepFrom, 0)
}

// oldLocked reports whether the i-th segment, which is not the newest, is past KeepAge. One whose age is not known counts from Open.
func (l *Log) oldLocked(i int, now time.Time) bool {
	completed := l.segments[i+1].begun
	if completed.IsZero() {
		completed = l.opened
	}
	return l.config.KeepAge > 0 && now.Sub(completed) > l.config.KeepAge
}

// drop removes the oldest segments, as long as there is more than keep bytes (negative: any number) or they are too old or
// condemned, up to limit, Retain's offset and the pins.
func (l *Log) drop(limit Offset, keep int64) error {
	l.dropMu.Lock()
	defer l.dropMu.Unlock()
	now := time.Now()
	l.mu.Lock()
	if err := l.usableLocked(); err != nil {
		l.mu.Unlock()
		return err
	}
	limit = min(limit, l.retain)
	for p := range l.pins {
		limit = min(limit, *p)
	}
	var size int64
	for _, s := range l.segments {
		size += s.size
	}
	// What is not durable stays: its file is still open, and recovery counts on the last two.
	n := 0
	for ; n < len(l.segments)-1-len(l.rolled) && l.segments[n].end <= limit; n++ {
		large := keep >= 0 && size > keep
		if !large && !l.oldLocked(n, now) && l.segments[n].end > l.floor {
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
