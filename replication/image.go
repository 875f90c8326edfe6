package replication

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
	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

// image is the snapshot file that is being written. Any number of replicas read
// it meanwhile, each with a file handle of its own.
type image struct {
	at  replog.Offset
	id  identity.ID
	gen uint64 // of the data

	fs   disk.FS
	path string
	f    disk.File

	mu    sync.Mutex
	size  int64
	ended bool
	err   error         // why it will never be whole
	grown chan struct{} // closed and replaced at every growth
}

// newImage creates the file. A file of that name is an attempt that failed;
// whoever still reads it keeps it.
func newImage(fsys disk.FS, path string, p point) (*image, error) {
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
