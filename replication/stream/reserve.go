package stream

import (
	"errors"
	"fmt"
	"syscall"
)

// FullError is returned when the disk, or a quota on it, has no room for a record. Nothing was appended and the log is
// as it was: the same call succeeds once there is room.
type FullError struct {
	// File is the segment that could not grow, or be made; Need is how many bytes of room it takes.
	File string
	Need int64
	Err  error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("log segment %s needs %d bytes of room: %v; free some space there, writing then goes on by itself", e.File, e.Need, e.Err)
}

func (e *FullError) Unwrap() error { return e.Err }

// isFull tells a disk without room from one that is broken.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

const (
	defaultReserve = 1 << 20
	// allocateStep is the most that is set aside beyond the reserve at once, so that it is asked for rarely.
	allocateStep = 4 << 20
)

// place returns the segment that a record of size bytes goes to, with room for it there. Units leave the reserve alone; the
// other kinds may use it up, and then stay in the segment they are in.
func (l *Log) place(k Kind, s *segment, size int64) (*segment, error) {
	if s.size > segmentHeaderSize && s.size+size > l.config.SegmentSize {
		next, err := l.roll(s)
		switch {
		case err == nil:
			s = next
		case k == Unit || !errors.As(err, new(*FullError)):
			return nil, err
		}
	}
	if l.allocated >= s.size+size+l.config.Reserve || l.config.Reserve == 0 {
		return s, nil
	}
	ample := max(min(s.size+size+allocateStep, l.config.SegmentSize), s.size+size) + l.config.Reserve
	err := l.allocate(l.file, s, ample)
	if isFull(err) {
		err = l.allocate(l.file, s, s.size+size+l.config.Reserve)
	}
	switch {
	case err == nil || isFull(err) && k != Unit:
		return s, nil
	case isFull(err):
		return nil, &FullError{s.path, size + l.config.Reserve, err}
	}
	return nil, l.fail(fmt.Errorf("reserve room for segment: %w", err))
}

// allocate sets room aside for the file of s up to a size. Where the file system cannot do that, there is no reserve.
func (l *Log) allocate(f File, s *segment, size int64) error {
	err := f.Allocate(s.size, size-s.size)
	switch {
	case err == nil:
		l.allocated = size
	case errors.Is(err, errors.ErrUnsupported):
		l.config.Reserve, l.allocated, err = 0, 0, nil
	}
	return err
}

// refuse ends an Append whose write failed. If only room was lacking, what was written is cut off again: the rest of a
// longer record behind a shorter one would be taken for damage.
func (l *Log) refuse(s *segment, size int64, err error) error {
	if !isFull(err) {
		return l.fail(fmt.Errorf("write segment: %w", err))
	}
	l.allocated = 0
	if e := l.file.Truncate(s.size); e != nil {
		return l.fail(fmt.Errorf("cut segment: %w", e))
	}
	return &FullError{s.path, size, err}
}
