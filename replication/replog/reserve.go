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

// spareRoom is the room of the volume that units must leave free for files that are not the log's.
type spareRoom struct {
	bytes int64
	used  func() int64 // how much of bytes those files take by now
	at    Offset       // end of the log when bytes were right
}

// left returns the part of the spare room that must still be free.
func (r *spareRoom) left() int64 { return max(r.bytes-r.used(), 0) }

// SetSpare sets how many bytes of the volume units must leave free for files that are not the
// log's. used returns how many of the bytes those files take by now; nil means none. The files can
// grow with the data: until the next call, each byte of log makes the spare room a byte larger. A
// caller that gets a FullError should therefore call SetSpare again. Expiries may use the log's
// reserve, but not the spare room. PING, GETACK and SELECT may use up both. A new segment's header
// and reserve may take spare room, because the segment before it returns as much. The default is 0.
func (l *Log) SetSpare(bytes int64, used func() int64) {
	if used == nil {
		used = func() int64 { return 0 }
	}
	l.spareRoom.Store(&spareRoom{bytes, used, l.End()})
}

// Spare returns the number of bytes set with SetSpare.
func (l *Log) Spare() int64 {
	if r := l.spareRoom.Load(); r != nil {
		return r.bytes
	}
	return 0
}

// leavesSpare reports whether room may be allocated for s up to size bytes of records and reserve
// without using the spare room. It returns true if the free room is unknown.
func (l *Log) leavesSpare(s *segment, size int64) bool {
	r := l.spareRoom.Load()
	if r == nil || r.bytes <= 0 {
		return true
	}
	// The other files can grow during the call, and one of them can be completed and replace an
	// older one. So used is called before and after Free, and the larger result counts.
	left := r.left()
	free, err := l.config.FS.Free(l.dir)
	left = max(left, r.left())
	grown := max(int64(s.end-r.at), 0) + max(size-l.config.Reserve-s.size, 0)
	return err != nil || free-(size-max(s.size, l.allocatedSize)) >= left+grown
}

// segmentFor returns the segment for a record of size bytes, after making sure that it has room. If
// the spare room does not allow a new segment, kinds other than Unit stay in their segment even if
// it is over its limit.
func (l *Log) segmentFor(k Kind, s *segment, size int64) (*segment, error) {
	limit := l.segmentLimit()
	if s.size > segmentHeaderSize && s.size+size > limit &&
		(k == Unit || l.leavesSpare(s, s.size+segmentHeaderSize+l.config.Reserve)) {
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
	return s, l.allocateFor(k, s, size, least, ample)
}

// allocateFor allocates room for a record of size bytes, up to the size ample of its segment's file
// if possible, and up to least otherwise. A unit must leave the reserve and the spare room unused.
func (l *Log) allocateFor(k Kind, s *segment, size, least, ample int64) error {
	switch {
	case l.leavesSpare(s, ample):
	case l.leavesSpare(s, least):
		ample = least
	case k == Unit:
		return &FullError{s.path, size + l.config.Reserve, errSpare}
	case l.allocatedSize >= s.size+size:
		return nil // the record uses the reserve
	case k == Expiry:
		return &FullError{s.path, size, errSpare}
	default: // these kinds are small and rare
		least = s.size + size
		ample = least
	}
	if l.spareCheckedSize = ample; l.config.Reserve == 0 {
		return nil
	}
	err := l.allocate(l.file, s, ample)
	if disk.IsFull(err) && ample > least {
		err = l.allocate(l.file, s, least)
	}
	switch {
	case err == nil || disk.IsFull(err) && k != Unit:
		return nil
	case disk.IsFull(err):
		return &FullError{s.path, size + l.config.Reserve, err}
	}
	return l.fail(fmt.Errorf("reserve room for segment: %w", err))
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
