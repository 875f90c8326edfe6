package replication

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/rdb"
	"rowfall/replication/stream"
)

// image is the snapshot file that is being written. Any number of replicas read
// it meanwhile, each with a file handle of its own.
type image struct {
	at  stream.Offset
	id  identity.ID
	gen uint64 // of the data

	fs   stream.FS
	path string
	f    stream.File

	mu    sync.Mutex
	size  int64
	ended bool
	err   error         // why it will never be whole
	grown chan struct{} // closed and replaced at every growth
}

// newImage creates the file. A file of that name is an attempt that failed;
// whoever still reads it keeps it.
func newImage(fsys stream.FS, path string, p point) (*image, error) {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	f, err := fsys.Open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return &image{at: p.at, id: p.id, gen: p.gen, fs: fsys, path: path, f: f, grown: make(chan struct{})}, nil
}

// fill writes the file's contents, makes it durable and closes it. Its readers
// have all of it before it is durable, and its end or fault in any case.
func (m *image) fill(ctx context.Context, encode func(io.Writer) error) error {
	w := bufio.NewWriterSize(&stoppable{ctx, m}, 1<<20)
	err := encode(w)
	if err == nil {
		err = w.Flush()
	}
	m.end(err)
	if err == nil {
		err = m.f.Sync()
	}
	if err = errors.Join(err, m.f.Close()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := m.fs.SyncDir(filepath.Dir(m.path)); err != nil {
		return fmt.Errorf("sync directory of snapshot: %w", err)
	}
	return nil
}

// Write appends to the file and tells the readers.
func (m *image) Write(p []byte) (int, error) {
	n, err := m.f.WriteAt(p, m.written())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size += int64(n)
	m.wakeLocked()
	return n, err
}

// written is the file's size so far.
func (m *image) written() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

func (m *image) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.err = fmt.Errorf("the snapshot failed: %w", err)
	}
	m.ended = true
	m.wakeLocked()
}

func (m *image) wakeLocked() {
	close(m.grown)
	m.grown = make(chan struct{})
}

// beyond waits for bytes behind off and returns the file's size, or off if it
// ends there.
func (m *image) beyond(ctx context.Context, off int64) (int64, error) {
	for {
		m.mu.Lock()
		size, ended, err, grown := m.size, m.ended, m.err, m.grown
		m.mu.Unlock()
		if err != nil || size > off || ended {
			return size, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// whole waits for the file's end and returns its size.
func (m *image) whole(ctx context.Context) (int64, error) {
	for {
		m.mu.Lock()
		size, ended, err, grown := m.size, m.ended, m.err, m.grown
		m.mu.Unlock()
		if err != nil || ended {
			return size, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// lease is a snapshot file opened for one replica. The log after it stays until
// release.
type lease struct {
	file    stream.File // stays readable when a newer snapshot takes its place
	image   *image      // nil: the file is complete
	made    time.Time   // of a file that was complete when it was opened
	at      stream.Offset
	size    int64 // of a complete file
	off     int64 // of the next byte to read
	release func()
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
	err := rdb.Transcode(out, in)
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
