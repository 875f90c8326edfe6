package replog

import (
	"fmt"
	"slices"
	"time"
)

// Synced returns the offset up to which the log is known to be durable.
func (l *Log) Synced() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Sync makes everything appended so far durable. An error is final, as with Append.
func (l *Log) Sync() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncLocked(l.End(), true) // End under syncMu, because BeginReset may lower it
}

// sync makes everything up to target durable: the completed segments and, if newest is set, the
// newest one.
func (l *Log) sync(target Offset, newest bool) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncLocked(target, newest)
}

// syncLocked is sync for callers that hold syncMu.
func (l *Log) syncLocked(target Offset, newest bool) error {
	l.mu.Lock()
	err, files, rolled := l.writableLocked(), slices.Clone(l.rolled), len(l.rolled)
	dirChanged, generation := l.dirChanged, l.generation
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
	if err := l.writeSyncedMark(m); err != nil {
		return l.fail(err)
	}
	return nil
}

// runBackground is the log's one goroutine. It syncs, and removes segments that Keep and KeepAge no
// longer allow, until stop is closed or an error ends the log.
func (l *Log) runBackground() {
	var everySecond <-chan time.Time
	if l.config.Fsync == EverySecond {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		everySecond = t.C
	}
	var ageCheck <-chan time.Time
	if l.config.KeepAge > 0 {
		t := time.NewTicker(min(max(l.config.KeepAge/16, time.Second), time.Minute))
		defer t.Stop()
		ageCheck = t.C
	}
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-ageCheck:
			err = l.removeSegments(maxStart, l.keepBytes.Load())
		case <-everySecond:
			err = l.Sync()
		case <-l.wakeBackground:
			if err = l.sync(0, false); err == nil {
				err = l.removeSegments(maxStart, l.keepBytes.Load())
			}
		}
		if err != nil {
			return // err is final; Failed and Append report it
		}
	}
}
