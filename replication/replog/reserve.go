package replog

import (
	"errors"
	"fmt"
	"syscall"

	"rowfall/replication/disk"
)

// FullError reports that the disk, or a quota on it, has no room for a record. Nothing was appended
// and the log is as it was. The same call succeeds once there is room.
type FullError struct {
	// File is the segment that could not grow or be created; Need is how many bytes it needs.
	File string
	Need int64
	Err  error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("log segment %s needs %d bytes of room: %v; free some space there, "+
		"writing then continues by itself", e.File, e.Need, e.Err)
}

func (e *FullError) Unwrap() error { return e.Err }

const (
	defaultReserve = 1 << 20
	// allocateStep is the most that is allocated beyond the reserve at once, so that allocations
	// are rare.
	allocateStep = 4 << 20
)

// errSpare is the cause of a FullError if the volume has no room except the spare room.
var errSpare = fmt.Errorf("%w but what is kept for the next snapshot", syscall.ENOSPC)

// SetSpare sets how many bytes of the volume units must leave free for files that are not the
// log's. Records of other kinds, and a new segment's header and reserve, may use them. The default
// is 0.
func (l *Log) SetSpare(bytes int64) { l.spareRoom.Store(bytes) }

// Spare returns the number of bytes set with SetSpare.
func (l *Log) Spare() int64 { return l.spareRoom.Load() }

// leavesSpare reports whether the log may take n more bytes of the volume without using the spare
// room. It returns true if the free room is unknown.
func (l *Log) leavesSpare(n int64) bool {
	spare := l.spareRoom.Load()
	if spare <= 0 {
		return true
	}
	free, err := l.config.FS.Free(l.dir)
	return err != nil || free-n >= spare
}

// segmentFor returns the segment for a record of size bytes, after making sure that it has room.
// Units leave the reserve and the spare room unused. The other kinds may use them up, and then stay
// in their segment even if it is over its limit.
func (l *Log) segmentFor(k Kind, s *segment, size int64) (*segment, error) {
	limit := l.segmentLimit()
	if s.size > segmentHeaderSize && s.size+size > limit {
		next, err := l.roll(s)
		switch {
		case err == nil:
			s = next
		case k == Unit || !errors.As(err, new(*FullError)):
			return nil, err
		}
	}
	least := s.size + size + l.config.Reserve
	if l.allocatedSize >= least || l.config.Reserve == 0 && l.spareCheckedSize >= least {
		return s, nil
	}
	ample := max(min(s.size+size+allocateStep, limit), s.size+size) + l.config.Reserve
	if have := max(s.size, l.allocatedSize); k == Unit && !l.leavesSpare(ample-have) {
		if ample = least; !l.leavesSpare(ample - have) {
			return nil, &FullError{s.path, size + l.config.Reserve, errSpare}
		}
	}
	if l.spareCheckedSize = ample; l.config.Reserve == 0 {
		return s, nil
	}
	err := l.allocate(l.file, s, ample)
	if disk.IsFull(err) && ample > least {
		err = l.allocate(l.file, s, least)
	}
	switch {
	case err == nil || disk.IsFull(err) && k != Unit:
		return s, nil
	case disk.IsFull(err):
		return nil, &FullError{s.path, size + l.config.Reserve, err}
	}
	return nil, l.fail(fmt.Errorf("reserve room for segment: %w", err))
}

// allocate allocates room for the file of s up to size bytes. If the file system does not support
// that, the reserve is turned off.
func (l *Log) allocate(f disk.File, s *segment, size int64) error {
	err := f.Allocate(s.size, size-s.size)
	switch {
	case err == nil:
		l.allocatedSize = size
	case errors.Is(err, errors.ErrUnsupported):
		l.config.Reserve, l.allocatedSize, err = 0, 0, nil
	}
	return err
}

// undoAppend handles the error of Append's write. If the disk was only full, it truncates what was
// written: the rest of a longer record behind a shorter one would look like damage.
func (l *Log) undoAppend(s *segment, size int64, err error) error {
	if !disk.IsFull(err) {
		return l.fail(fmt.Errorf("write segment: %w", err))
	}
	l.allocatedSize, l.spareCheckedSize = 0, 0
	if e := l.file.Truncate(s.size); e != nil {
		return l.fail(fmt.Errorf("truncate segment: %w", e))
	}
	return &FullError{s.path, size, err}
}
