package snapshots

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"rowfall/replication/disk"
	"rowfall/replication/notify"
)

// writer is the snapshot file that is being written. Any number of Readers follow it, each
// with a file handle of its own.
type writer struct {
	point Point // Keys excepted, which the Store closes

	fs   disk.FS
	path string
	f    disk.File

	mu    sync.Mutex
	size  int64
	ended bool
	err   error         // why the file will never be complete
	grown notify.Signal // of a change of size, ended or err
}

// newWriter creates the file. An existing file of that name is left from a failed attempt. It
// is removed; Readers that have it open keep it.
func newWriter(fsys disk.FS, path string, p Point) (*writer, error) {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	f, err := fsys.Open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return &writer{point: p, fs: fsys, path: path, f: f}, nil
}

// fill writes the file's contents, syncs and closes it. Once ctx has ended, the next write fails
// with its cause. Readers may read the last byte before the sync. They are woken at the end and
// at a fault in any case.
func (w *writer) fill(ctx context.Context, encode func(io.Writer) error) error {
	b := bufio.NewWriterSize(writeFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return w.Write(p)
	}), 1<<20)
	err := encode(b)
	if err == nil {
		err = b.Flush()
	}
	w.end(err)
	if err == nil {
		err = w.f.Sync()
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := w.fs.SyncDir(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("sync directory of snapshot: %w", err)
	}
	return nil
}

// Write appends to the file and wakes the Readers.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.written())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size += int64(n)
	w.grown.Notify()
	return n, err
}

// written returns the file's size so far.
func (w *writer) written() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *writer) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = fmt.Errorf("the snapshot failed: %w", err)
	}
	w.ended = true
	w.grown.Notify()
}

// waitBeyond waits until the file has bytes after offset off or is complete. It returns the
// file's size, which is off if the file ends there.
func (w *writer) waitBeyond(ctx context.Context, off int64) (int64, error) {
	return w.wait(ctx, func(size int64) bool { return size > off })
}

// waitComplete waits for the end of the file and returns its size.
func (w *writer) waitComplete(ctx context.Context) (int64, error) {
	return w.wait(ctx, func(int64) bool { return false })
}

// wait waits until the size is enough, or the file is complete.
func (w *writer) wait(ctx context.Context, enough func(size int64) bool) (int64, error) {
	for {
		w.mu.Lock()
		size, ended, err, grown := w.size, w.ended, w.err, w.grown.Next()
		w.mu.Unlock()
		if err != nil || ended || enough(size) {
			return size, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// writeFunc is a function as an io.Writer.
type writeFunc func(p []byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }
