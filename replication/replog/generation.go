package replog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"rowfall/replication/disk"
)

// nextGeneration returns a number above last, the highest in the directory. Its low half is random,
// so that the number also identifies the log: a log created after another was removed has a
// different number.
func nextGeneration(last uint64) uint64 {
	var random [4]byte
	rand.Read(random[:]) //nolint:errcheck // never fails: crypto/rand ends the process instead
	return (last>>32+1)<<32 | uint64(binary.LittleEndian.Uint32(random[:]))
}

// Generation returns the log's generation, which grows with every Reset and Create. Two logs that
// were created independently have different generations, except for logs of program versions that
// counted from 1.
func (l *Log) Generation() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

// Reset removes all records and starts a new log at offset start. A crash leaves either the old log
// or the new one. Readers get ErrTrimmed. Retain's offset becomes start. After an out-of-range
// offset or a *FullError the old log continues; every other error is final, as with Append.
func (l *Log) Reset(start Offset) error {
	removeOld, err := l.BeginReset(start)
	if err != nil {
		return err
	}
	return removeOld()
}

// BeginReset is Reset without the wait for files to be removed. The old files stay until removeOld,
// which must be called before the next BeginReset. If the process ends first, Open removes them.
func (l *Log) BeginReset(start Offset) (removeOld func() error, err error) {
	if start < 0 || start > MaxBegin {
		return nil, fmt.Errorf("reset log: offset %d is out of range", start)
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.removeMu.Lock()
	defer l.removeMu.Unlock()
	l.mu.Lock()
	old, generation, err := append(slices.Clone(l.rolled), l.file), l.generation, l.writableLocked()
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := l.startGeneration(nextGeneration(generation), start); err != nil {
		if errors.As(err, new(*FullError)) {
			return nil, fmt.Errorf("reset log: %w", err)
		}
		return nil, l.fail(err)
	}
	l.mu.Lock()
	l.window.reset(start)
	unused := l.window.takeUnused()
	l.wakeLocked()
	l.mu.Unlock()
	freeChunks(unused)
	for _, f := range old {
		_ = f.Close() // an error is harmless: the old log's bytes are no longer needed
	}
	return func() error {
		if err := l.removeOldGenerations(); err != nil {
			return l.fail(err)
		}
		return nil
	}, nil
}

// startGeneration creates a first segment and makes it durable. Older generations are left to
// removeOldGenerations.
func (l *Log) startGeneration(generation uint64, start Offset) error {
	if start < 0 || start > MaxBegin {
		return fmt.Errorf("start log: offset %d is out of range", start)
	}
	file, s, err := l.newSegment(segmentHeader{generation, start, start, time.Now()})
	if err != nil {
		return err
	}
	l.spareCheckedSize = 0
	l.mu.Lock()
	l.file, l.segments, l.rolled = file, []*segment{s}, nil
	l.generation, l.end, l.synced, l.retain = generation, start, start, start
	l.dirChanged, l.readableFrom = false, 0
	l.mu.Unlock()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	if err := l.config.FS.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync log folder: %w", err)
	}
	if err := l.openMarker(); err != nil {
		return err
	}
	return l.writeSyncedMark(syncedMark{generation, start})
}

// writeNewestMark records in the file "synced" which segment is the newest, so that Open notices if
// that segment is missing. A full disk is ignored.
func (l *Log) writeNewestMark(m newestSegmentMark) error {
	if _, err := l.marker.WriteAt(m.marshal(), syncedSize); err != nil && !disk.IsFull(err) {
		return fmt.Errorf("write sync mark: %w", err)
	}
	return nil
}

// removeOldGenerations removes the files of every generation except the current one.
func (l *Log) removeOldGenerations() error {
	f, err := scanDir(l.config.FS, l.dir)
	if err != nil {
		return err
	}
	for _, h := range f.headers {
		if h.generation != l.Generation() {
			f.stale = append(f.stale, f.path(h))
		}
	}
	return f.removeStale()
}

// writeSyncedMark records what is durable. A full disk is ignored, because the previous
// mark, or a missing mark, claims less.
func (l *Log) writeSyncedMark(m syncedMark) error {
	if _, err := l.marker.WriteAt(m.marshal(), 0); err != nil && !disk.IsFull(err) {
		return fmt.Errorf("write sync mark: %w", err)
	}
	return nil
}
