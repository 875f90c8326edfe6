package replication

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
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// lease is a snapshot file opened for one replica. The log after its offset stays until
// pin is released.
type lease struct {
	file  disk.File // stays readable when a newer snapshot takes its place
	image *image    // nil: the file is complete
	made  time.Time // of a file that was complete when it was opened
	at    replog.Offset
	size  int64 // of a complete file
	off   int64 // of the next byte to read
	lossy int   // streams of which transcode left numbers out
	pin   *replog.Pin
}

// sequential reads the file as far as it is written. What has a descriptor is
// given as it is: from there to a socket the kernel needs no copy.
func (l *lease) sequential() io.Reader {
	if r, ok := l.file.(io.Reader); ok {
		return r
	}
	return io.NewSectionReader(l.file, 0, math.MaxInt64)
}

// complete says whether the size is known.
func (l *lease) complete() bool { return l.image == nil }

// wait waits for the file to be complete.
func (l *lease) wait(ctx context.Context) error {
	if l.image == nil {
		return nil
	}
	size, err := l.image.whole(ctx)
	if err == nil {
		l.size, l.image = size, nil
	}
	return err
}

// ready waits for bytes to read and returns how many there are; 0 at the end.
func (l *lease) ready(ctx context.Context) (int64, error) {
	if l.image == nil {
		return l.size - l.off, nil
	}
	size, err := l.image.beyond(ctx, l.off)
	return size - l.off, err
}

// spoiltError is what is wrong with a snapshot's file itself.
type spoiltError struct{ err error }

func (e *spoiltError) Error() string { return e.err.Error() }
func (e *spoiltError) Unwrap() error { return e.err }

// fault looks whether the next byte, which is there, can be read. What sends a file
// to a socket does not tell which of the two failed.
func (l *lease) fault() error {
	if _, err := l.file.ReadAt(make([]byte, 1), l.off); err != nil {
		return &spoiltError{fmt.Errorf("read snapshot at byte %d: %w", l.off, err)}
	}
	return nil
}

// transcode copies the file in the form for Redis 6.2 to w. An error that is neither
// of w nor of the waiting is one of the file.
func (l *lease) transcode(ctx context.Context, w io.Writer) error {
	in, out := l.reader(ctx), &outlet{w: w}
	lossy, err := rdb.Transcode(out, in)
	l.lossy = lossy
	if err != nil && in.err == nil && out.err == nil {
		err = &spoiltError{err}
	}
	return err
}

// outlet keeps the error of its writer.
type outlet struct {
	w   io.Writer
	err error
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// reader reads the file from the beginning, waiting for what is not written yet.
func (l *lease) reader(ctx context.Context) *leaseReader { return &leaseReader{ctx: ctx, l: l} }

type leaseReader struct {
	ctx context.Context
	l   *lease
	err error // why it waits no longer
}

func (r *leaseReader) Read(p []byte) (int, error) {
	if r.err = r.ctx.Err(); r.err != nil {
		return 0, r.err // a complete file is never waited for
	}
	var ready int64
	if ready, r.err = r.l.ready(r.ctx); r.err != nil {
		return 0, r.err
	}
	if ready == 0 {
		return 0, io.EOF
	}
	n, err := r.l.file.ReadAt(p[:min(int64(len(p)), ready)], r.l.off)
	r.l.off += int64(n)
	return n, err
}

// acquire opens a snapshot for a replica: the newest, or the one being written,
// as long as the log since it is short; else a new one, once its offset is fixed.
func (s *snapshots) acquire(ctx context.Context) (*lease, error) {
	s.Lock()
	l, err := s.openLocked(s.servesLocked)
	if t := s.pending; l == nil && err == nil && t != nil && isClosed(t.fixed) {
		s.Unlock()
		// Too old, as far as its size is known. When it is complete it may do; else another one, after it.
		if err := s.wait(ctx, t); err != nil {
			return nil, fmt.Errorf("wait for snapshot: %w", err)
		}
		s.Lock()
		l, err = s.openLocked(s.servesLocked)
	}
	if l != nil || err != nil {
		s.Unlock()
		return l, err
	}
	t := s.requestLocked()
	s.Unlock()
	if err := s.readable(ctx, t); err != nil {
		return nil, err
	}
	s.Lock()
	defer s.Unlock()
	l, err = s.openLocked(func(replog.Offset) bool { return true })
	if l == nil && err == nil {
		err = errors.New("the snapshot failed")
	}
	return l, err
}

// readable waits until an attempt's file can be read.
func (s *snapshots) readable(ctx context.Context, t *attempt) error {
	select {
	case <-t.fixed:
	case <-t.done:
		if t.err != nil { // else it was both at once
			return fmt.Errorf("wait for snapshot: %w", t.err)
		}
	case <-s.n.appender.stopped:
		return s.n.appender.closedErr()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// openLocked opens the newest file whose offset serves; nil: there is none.
func (s *snapshots) openLocked(serves func(replog.Offset) bool) (*lease, error) {
	l := &lease{}
	name := newSnapshot
	switch {
	case s.growing != nil && s.growing.gen == s.n.log.Generation() && serves(s.growing.at):
		l.at, l.image = s.growing.at, s.growing
	case !s.newest.time.IsZero() && s.spoilt == nil && serves(s.newest.at):
		l.at, l.size, l.made, name = s.newest.at, s.newest.size, s.newest.time, snapshotName(s.newest.at)
	default:
		return nil, nil
	}
	var err error
	l.file, err = s.n.c.FS.Open(filepath.Join(s.n.c.Dir, name), os.O_RDONLY)
	switch {
	case err == nil:
		l.pin = s.n.log.Pin(l.at)
		return l, nil
	case l.image != nil || lacking(err):
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	s.condemnLocked(l, err)
	return nil, nil
}

// lacking says whether a file could not be opened for want of what may be there the next moment.
func lacking(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// condemn has a file that cannot be read serve nobody any more, and asks for another.
func (s *snapshots) condemn(l *lease, why error) {
	s.Lock()
	defer s.Unlock()
	s.condemnLocked(l, why)
}

// condemnLocked is told of a lease that may be older than the newest file. One that
// was read as it grew has no time; what is wrong with it now may be so of that file, which then is made once more.
func (s *snapshots) condemnLocked(l *lease, why error) {
	if s.spoilt != nil || l.at != s.newest.at || !l.made.IsZero() && !l.made.Equal(s.newest.time) {
		return
	}
	s.spoilt = fmt.Errorf("%s cannot be read: %w", filepath.Join(s.n.c.Dir, snapshotName(l.at)), why)
	s.n.logger.Error().Err(s.spoilt).Stringer("offset", l.at).Msg("the newest snapshot is not usable: another is written")
	s.requestLocked()
}

const (
	reuseLeast = 64 << 20 // bytes of log: about a second of a replica's time
	reuseMost  = 2 << 30  // about a minute: servers apply 30 to 70 MB/s and more
)

// servesLocked says whether a replica may begin with a snapshot of offset at:
// whether replaying the log since then takes it less time than loading the
// snapshot did, and never more than about a minute; and whether all of that log
// can be read. The first snapshot's size is not known while it grows, but it will
// be about that of the data.
func (s *snapshots) servesLocked(at replog.Offset) bool {
	most := s.n.c.SnapshotReuse
	if most == 0 {
		size := max(s.newest.size, s.n.Keyspace().Memory().Live)
		if s.growing != nil {
			size = max(size, s.growing.written())
		}
		most = min(max(reuseLeast, size), reuseMost)
	}
	return int64(s.n.log.End()-at) <= most && at >= s.n.log.Start()
}
