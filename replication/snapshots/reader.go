package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/notify"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// Reader is a snapshot file opened for one replica, complete or still growing. The log after
// its offset stays until Pin is released. One goroutine may use it at a time.
type Reader struct {
	At    replog.Offset // the snapshot holds everything up to it
	Pin   *replog.Pin   // released by the owner, possibly after Close
	Lossy int           // streams from which Transcode left numbers out

	file   disk.File // stays readable when a newer snapshot takes its place
	writer *writer   // nil: the file is complete
	made   time.Time // of a file that was complete when it was opened
	size   int64     // of a complete file
	off    int64     // of the next byte to read
}

// Close closes the file. It does not release Pin.
func (r *Reader) Close() error { return r.file.Close() }

// Sequential returns a reader of the file from its beginning. A file with a descriptor is
// returned as it is, so that the kernel sends it to a socket without a copy.
func (r *Reader) Sequential() io.Reader {
	if f, ok := r.file.(io.Reader); ok {
		return f
	}
	return io.NewSectionReader(r.file, 0, math.MaxInt64)
}

// Complete reports whether the file is complete, and its size known.
func (r *Reader) Complete() bool { return r.writer == nil }

// WaitComplete waits for the file to be complete and returns its size.
func (r *Reader) WaitComplete(ctx context.Context) (size int64, err error) {
	if r.writer == nil {
		return r.size, nil
	}
	if size, err = r.writer.waitComplete(ctx); err != nil {
		return 0, err
	}
	r.size, r.writer = size, nil
	return size, nil
}

// Ready waits for bytes to read and returns how many there are; 0 at the end of the file.
func (r *Reader) Ready(ctx context.Context) (int64, error) {
	if r.writer == nil {
		return r.size - r.off, nil
	}
	size, err := r.writer.waitBeyond(ctx, r.off)
	return size - r.off, err
}

// Advance records that n bytes were read through Sequential.
func (r *Reader) Advance(n int64) { r.off += n }

// Rewind makes the next Transcode begin at the file's first byte.
func (r *Reader) Rewind() { r.off = 0 }

// FileError is a fault of a snapshot file itself: it cannot be read, or its contents are
// wrong.
type FileError struct{ err error }

func (e *FileError) Error() string { return e.err.Error() }
func (e *FileError) Unwrap() error { return e.err }

// CheckReadable reads the next byte, which must be there, and returns a *FileError if that
// fails. A failed copy from file to socket does not show which of the two is at fault.
func (r *Reader) CheckReadable() error {
	if _, err := r.file.ReadAt(make([]byte, 1), r.off); err != nil {
		return &FileError{fmt.Errorf("read snapshot at byte %d: %w", r.off, err)}
	}
	return nil
}

// Transcode copies the file to w in the encoding that Redis 6.2 loads. It returns a
// *FileError if the fault is neither of w nor of the wait for bytes.
func (r *Reader) Transcode(ctx context.Context, w io.Writer) error {
	var waitErr, writeErr error
	in := readFunc(func(p []byte) (n int, err error) {
		if n, waitErr, err = r.readNext(ctx, p); waitErr != nil {
			return n, waitErr
		}
		return n, err
	})
	out := writeFunc(func(p []byte) (n int, err error) {
		n, writeErr = w.Write(p)
		return n, writeErr
	})
	lossy, err := rdb.Transcode(out, in)
	r.Lossy = lossy
	if err != nil && waitErr == nil && writeErr == nil {
		err = &FileError{err}
	}
	return err
}

// readNext reads the next bytes of the file, and waits until there are any. waitErr is why the wait
// ended without bytes; err is an error of the file, io.EOF at its end.
func (r *Reader) readNext(ctx context.Context, p []byte) (n int, waitErr, err error) {
	// A complete file needs no wait, so the end of ctx is checked here.
	if err := ctx.Err(); err != nil {
		return 0, err, nil
	}
	ready, err := r.Ready(ctx)
	if err != nil {
		return 0, err, nil
	}
	if ready == 0 {
		return 0, nil, io.EOF
	}
	n, err = r.file.ReadAt(p[:min(int64(len(p)), ready)], r.off)
	r.off += int64(n)
	return n, nil, err
}

// readFunc is a function as an io.Reader.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Acquire opens a snapshot for a replica. It takes the newest file or the one being written
// while the log since its offset is short, else it waits for a new snapshot's point.
func (s *Store) Acquire(ctx context.Context) (*Reader, error) {
	s.mu.Lock()
	r, err := s.openLocked(s.servesLocked)
	if j := s.pending; r == nil && err == nil && j != nil && notify.IsClosed(j.fixed) {
		s.mu.Unlock()
		// The log since the offset of the file being written is longer than the file is now. The
		// complete file may be large enough to serve; otherwise another snapshot follows.
		if err := s.wait(ctx, j); err != nil {
			return nil, fmt.Errorf("wait for snapshot: %w", err)
		}
		s.mu.Lock()
		r, err = s.openLocked(s.servesLocked)
	}
	if r != nil || err != nil {
		s.mu.Unlock()
		return r, err
	}
	j := s.requestLocked()
	s.mu.Unlock()
	if err := s.waitReadable(ctx, j); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err = s.openLocked(func(replog.Offset) bool { return true })
	if r == nil && err == nil {
		err = errors.New("the snapshot failed")
	}
	return r, err
}

// waitReadable waits until a job's file can be read.
func (s *Store) waitReadable(ctx context.Context, j *job) error {
	select {
	case <-j.fixed:
	case <-j.done:
		if j.err != nil { // without an error fixed is closed, too, and select chose done
			return fmt.Errorf("wait for snapshot: %w", j.err)
		}
	case <-s.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// openLocked opens the file being written or the newest one, if its offset serves. It returns
// nil if neither does.
func (s *Store) openLocked(serves func(replog.Offset) bool) (*Reader, error) {
	r := &Reader{}
	name := newSnapshot
	w, log := s.current, s.node.Log()
	switch {
	case w != nil && w.point.Generation == log.Generation() && serves(w.point.At):
		r.At, r.writer = w.point.At, w
	case !s.newest.IsZero() && s.unreadable == nil && serves(s.newest.At):
		r.At, r.size, r.made, name = s.newest.At, s.newest.Size, s.newest.Time, Name(s.newest.At)
	default:
		return nil, nil
	}
	var err error
	r.file, err = s.c.FS.Open(filepath.Join(s.c.Dir, name), os.O_RDONLY)
	switch {
	case err == nil:
		r.Pin = log.Pin(r.At)
		return r, nil
	case r.writer != nil || lacksResources(err):
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	if s.markUnreadableLocked(r, err) {
		s.c.Logger.Error().Err(s.unreadable).Stringer("offset", r.At).
			Msg("the newest snapshot is not usable: another is written")
	}
	return nil, nil
}

// lacksResources reports whether a file could not be opened for a reason that may pass.
func lacksResources(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOMEM)
}

// MarkUnreadable stops the use of a file that could not be read, and requests another
// snapshot. why is a *FileError, which the caller logs.
func (s *Store) MarkUnreadable(r *Reader, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.markUnreadableLocked(r, why) {
		s.c.Logger.Error().Stringer("offset", r.At).Str("file", s.Path(r.At)).
			Msg("the newest snapshot is not usable: another is written")
	}
}

// markUnreadableLocked marks the newest snapshot unreadable if r was opened on it. A Reader
// that was opened while its file was being written has no time and is assumed to be of the
// newest; at worst one extra snapshot is taken. It reports whether the mark is new.
func (s *Store) markUnreadableLocked(r *Reader, why error) bool {
	older := r.At != s.newest.At || !r.made.IsZero() && !r.made.Equal(s.newest.Time)
	if s.unreadable != nil || older {
		return false
	}
	s.unreadable = fmt.Errorf("%s cannot be read: %w", s.Path(r.At), why)
	s.requestLocked()
	return true
}

const (
	reuseLeast = 64 << 20 // bytes of log: a replica applies them in about a second
	reuseMost  = 2 << 30  // about a minute: servers apply 30 to 70 MB/s and more
)

// servesLocked reports whether a replica may start from a snapshot of offset at: all the log
// since then can be read, and its replay takes less time than the load of the snapshot, and
// never more than about a minute. While the first snapshot grows its size is not known, and
// is taken to be that of the data in memory.
func (s *Store) servesLocked(at replog.Offset) bool {
	most := s.c.Reuse
	if most == 0 {
		size := max(s.newest.Size, s.node.Live())
		if s.current != nil {
			size = max(size, s.current.written())
		}
		most = min(max(reuseLeast, size), reuseMost)
	}
	log := s.node.Log()
	return int64(log.End()-at) <= most && at >= log.Start()
}
