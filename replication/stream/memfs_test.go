package stream_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"rowfall/replication/stream"
)

var errInjected = errors.New("injected")

// memFS is a file system in memory that can fail its n-th operation and lose what was not synced.
type memFS struct {
	mu         sync.Mutex
	files      map[string]*memFile
	durable    map[string]*memFile // what SyncDir made of files
	quota      int64               // bytes of all files; 0: none
	unreserved bool                // no room can be set aside
	noNames    bool                // no file can be made
	count      int
	failAt     int // the operation, from 1, that fails with all later ones; 0: none
}

type memFile struct {
	fs           *memFS
	data, synced []byte
	room         int64 // that is set aside, from the file's start
}

// fits returns how far a file may grow towards a size. It is called with mu held.
func (m *memFS) fits(f *memFile, size int64) (int64, error) {
	if m.quota == 0 || size <= max(f.room, int64(len(f.data))) {
		return size, nil
	}
	free := m.quota
	for _, o := range m.files {
		free -= max(o.room, int64(len(o.data)))
	}
	if most := max(f.room, int64(len(f.data))) + max(free, 0); size > most {
		return most, syscall.ENOSPC
	}
	return size, nil
}

// setQuota leaves free bytes on the disk, or any number if that is negative.
func (m *memFS) setQuota(free int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quota = 0
	if free < 0 {
		return
	}
	m.quota = free
	for _, o := range m.files {
		m.quota += max(o.room, int64(len(o.data)))
	}
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// op counts one operation. It is called with mu held.
func (m *memFS) op() error {
	m.count++
	if m.failAt > 0 && m.count >= m.failAt {
		return errInjected
	}
	return nil
}

func (m *memFS) Open(name string, flag int) (stream.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return nil, err
	}
	f, ok := m.files[name]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case ok && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case !ok && m.noNames:
		return nil, syscall.EDQUOT
	case !ok:
		f = &memFile{fs: m}
		m.files[name] = f
	}
	return f, nil
}

func (m *memFS) ReadDir(dir string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, m.op()
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	if _, ok := m.files[name]; !ok {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	clear(m.durable)
	for name, f := range m.files {
		m.durable[name] = f
	}
	return nil
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of b before it fails.
func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.op()
	if err != nil {
		b = b[:len(b)/2]
	}
	if most, e := f.fs.fits(f, off+int64(len(b))); e != nil && err == nil {
		b, err = b[:max(most-off, 0)], e
	}
	if need := off + int64(len(b)); need > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, need-int64(len(f.data)))...)
	}
	return copy(f.data[off:], b), err
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	f.synced = append([]byte(nil), f.data...)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	f.data, f.room = f.data[:size], 0
	return nil
}

// Allocate sets a part aside before it fails, as some file systems do.
func (f *memFile) Allocate(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	if f.fs.unreserved {
		return syscall.EOPNOTSUPP
	}
	room, err := f.fs.fits(f, off+n)
	f.room = max(f.room, room)
	return err
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), f.fs.op()
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.op()
}

// copyOf returns what another process would find, with nothing failing.
func (m *memFS) copyOf() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemFS()
	for name, f := range m.files {
		c.files[name] = &memFile{fs: c, data: append([]byte(nil), f.data...)}
	}
	return c
}

// equal reports whether two hold the same files.
func (m *memFS) equal(o *memFS) bool {
	return maps.EqualFunc(m.files, o.files, func(a, b *memFile) bool { return bytes.Equal(a.data, b.data) })
}

// powerCut returns what is left after the power failed: every change to the directory that was not synced happened or not,
// and of every file what was synced and some of the rest, perhaps with a hole of zeros.
func (m *memFS) powerCut(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemFS()
	add := func(name string, f *memFile) {
		data := append([]byte(nil), f.synced...)
		if rest := len(f.data) - len(data); rest > 0 {
			more := append([]byte(nil), f.data[len(data):len(data)+r.IntN(rest+1)]...)
			if len(more) > 0 && r.IntN(2) == 0 {
				clear(more[r.IntN(len(more)):])
			}
			data = append(data, more...)
		}
		c.files[name] = &memFile{fs: c, data: data, synced: data}
	}
	for name, f := range m.durable {
		if m.files[name] == f || r.IntN(2) == 0 {
			add(name, f)
		}
	}
	for name, f := range m.files {
		if m.durable[name] != f && r.IntN(2) == 0 {
			add(name, f)
		}
	}
	return c
}
