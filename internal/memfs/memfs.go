// Package memfs is a file system in memory for tests of what is on disk. It fails at the operation that a test names, runs
// out of room, and loses what a power cut loses: what was written and not synced, and every change of a folder that
// was not synced.
//
// Paths are those of the program under test; the folders above a file that is put in are made. A handle is the file itself:
// it has no position and no mode, and closing it changes nothing.
package memfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"rowfall/replication/stream"
)

// ErrInjected is what operations fail with, unless another error is given.
var ErrInjected = errors.New("injected")

// FS is the file system. Every operation on it and on its files counts as one.
type FS struct {
	mu      sync.Mutex
	entries map[string]*file // by path
	durable map[string]*file // what a power cut leaves of entries at the least
	changes []change         // of folders since they were synced

	quota      int64 // bytes of all files; 0: none
	unreserved bool  // no room can be set aside
	noNames    bool  // no file can be made

	count  int
	failAt int // the operation, from 1, that fails; 0: none
	err    error
	once   bool // those after it do not
	failed bool // it was reached
}

var _ stream.FS = (*FS)(nil)

// file is a file or a folder.
type file struct {
	fs           *FS
	dir          bool
	data, synced []byte
	room         int64 // that is set aside, from the file's start
	bad          int64 // the place that cannot be read, from 1; 0: none
	tries        int   // how often it still fails; negative: for ever
}

// change is one of a folder's: a power cut leaves all of it or nothing. What name was is gone, from is not there any more.
type change struct {
	name, from string
	f          *file
	removed    bool
}

func (c change) apply(entries map[string]*file) {
	switch {
	case c.removed && entries[c.name] == c.f:
		delete(entries, c.name)
	case c.removed:
	default:
		if entries[c.from] == c.f {
			delete(entries, c.from)
		}
		entries[c.name] = c.f
	}
}

// New returns an empty file system.
func New() *FS { return &FS{entries: map[string]*file{}, durable: map[string]*file{}} }

// FailAt lets the n-th operation from now on (1: the next) and all after it fail with err (nil: ErrInjected). 0: none does.
func (m *FS) FailAt(n int, err error) { m.arm(n, err, false) }

// FailOnceAt is FailAt for that operation alone.
func (m *FS) FailOnceAt(n int, err error) { m.arm(n, err, true) }

func (m *FS) arm(n int, err error, once bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = ErrInjected
	}
	m.failAt, m.err, m.once, m.failed = 0, err, once, false
	if n > 0 {
		m.failAt = m.count + n
	}
}

// Failed says whether the operation that is to fail was reached.
func (m *FS) Failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// op counts one operation. It is called with mu held.
func (m *FS) op() error {
	m.count++
	if m.failAt > 0 && (m.count == m.failAt || m.count > m.failAt && !m.once) {
		m.failed = true
		return m.err
	}
	return nil
}

// Leave leaves n bytes of room on the disk, or any number if that is negative.
func (m *FS) Leave(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quota = 0
	if n < 0 {
		return
	}
	m.quota = n
	for _, o := range m.entries {
		m.quota += max(o.room, int64(len(o.data)))
	}
}

// NoReserve says that no room can be set aside.
func (m *FS) NoReserve() { m.unreserved = true }

// NoNames says whether a quota refuses new files.
func (m *FS) NoNames(refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noNames = refused
}

// fits returns how far a file may grow towards a size. It is called with mu held.
func (m *FS) fits(f *file, size int64) (int64, error) {
	if m.quota == 0 || size <= max(f.room, int64(len(f.data))) {
		return size, nil
	}
	free := m.quota
	for _, o := range m.entries {
		free -= max(o.room, int64(len(o.data)))
	}
	if most := max(f.room, int64(len(f.data))) + max(free, 0); size > most {
		return most, syscall.ENOSPC
	}
	return size, nil
}

// isDir says whether there is a folder. It is called with mu held.
func (m *FS) isDir(name string) bool {
	f := m.entries[name]
	return f != nil && f.dir || name == filepath.Dir(name)
}

// change makes a change. It is called with mu held.
func (m *FS) change(c change) {
	c.apply(m.entries)
	m.changes = append(m.changes, c)
}

// Open opens or makes a file.
func (m *FS) Open(name string, flag int) (stream.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return nil, err
	}
	f, ok := m.entries[name]
	switch {
	case !ok && flag&os.O_CREATE == 0, !m.isDir(filepath.Dir(name)):
		return nil, fs.ErrNotExist
	case ok && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case ok && f.dir:
		return nil, syscall.EISDIR
	case !ok && m.noNames:
		return nil, syscall.EDQUOT
	case !ok:
		f = &file{fs: m}
		m.change(change{name: name, f: f})
	case flag&os.O_TRUNC != 0:
		f.data, f.room = nil, 0
	}
	return f, nil
}

// ReadDir lists a folder.
func (m *FS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names(dir), m.op()
}

// Names is ReadDir for the test itself: it neither counts nor fails.
func (m *FS) Names(dir string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names(dir)
}

func (m *FS) names(dir string) (names []string) {
	for name := range m.entries {
		if filepath.Dir(name) == dir && name != dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// Mkdir makes one folder.
func (m *FS) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	_, ok := m.entries[dir]
	switch {
	case ok, m.isDir(dir):
		return fs.ErrExist
	case !m.isDir(filepath.Dir(dir)):
		return fs.ErrNotExist
	}
	m.change(change{name: dir, f: &file{fs: m, dir: true}})
	return nil
}

// Remove removes a file.
func (m *FS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	f, ok := m.entries[name]
	if !ok {
		return fs.ErrNotExist
	}
	m.change(change{name: name, f: f, removed: true})
	return nil
}

// Rename gives a file another name in its folder.
func (m *FS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	f, ok := m.entries[from]
	switch {
	case !ok:
		return fs.ErrNotExist
	case filepath.Dir(from) != filepath.Dir(to):
		return syscall.EXDEV
	}
	m.change(change{name: to, from: from, f: f})
	return nil
}

// SyncDir makes the changes of one folder durable.
func (m *FS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	m.changes = slices.DeleteFunc(m.changes, func(c change) bool {
		if filepath.Dir(c.name) != dir {
			return false
		}
		c.apply(m.durable)
		return true
	})
	return nil
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if bad := f.bad - 1; f.bad > 0 && off <= bad && bad < off+int64(n) {
		if f.tries != 0 {
			f.tries--
			return int(bad - off), syscall.EIO
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of b before it fails.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.op()
	if err != nil {
		b = b[:len(b)/2]
	}
	if most, e := f.fs.fits(f, off+int64(len(b))); e != nil && err == nil {
		b, err = b[:max(most-off, 0)], e
	}
	if bad := f.bad - 1; off <= bad && bad < off+int64(len(b)) {
		f.bad = 0 // a disk puts it elsewhere then
	}
	if need := off + int64(len(b)); need > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, need-int64(len(f.data)))...)
	}
	return copy(f.data[off:], b), err
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	if f.data, f.room = f.data[:size], 0; f.bad > size {
		f.bad = 0
	}
	return nil
}

// Allocate sets a part aside before it fails, as some file systems do.
func (f *file) Allocate(off, n int64) error {
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

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), f.fs.op()
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.op()
}

// Put makes a file, with the folders above it, durable.
func (m *FS) Put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &file{fs: m, data: bytes.Clone(data), synced: bytes.Clone(data)}
	m.entries[name], m.durable[name] = f, f
	for dir := filepath.Dir(name); !m.isDir(dir); dir = filepath.Dir(dir) {
		d := &file{fs: m, dir: true}
		m.entries[dir], m.durable[dir] = d, d
	}
}

// Damage makes a byte of a file unreadable: reading it fails with EIO so many times (negative: for ever), until it is written anew.
func (m *FS) Damage(name string, at int64, tries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[name].bad, m.entries[name].tries = at+1, tries
}

// Data is what a file holds, synced or not; nil: there is none.
func (m *FS) Data(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.entries[name]; f != nil && !f.dir {
		return append([]byte{}, f.data...)
	}
	return nil
}

// Copy returns what another process would find, with nothing failing: all of it, and no more durable than it was.
func (m *FS) Copy() *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := New()
	copies := map[*file]*file{}
	same := func(f *file) *file {
		if copies[f] == nil {
			copies[f] = &file{fs: c, dir: f.dir, data: bytes.Clone(f.data), synced: bytes.Clone(f.synced), bad: f.bad, tries: f.tries}
		}
		return copies[f]
	}
	for name, f := range m.entries {
		c.entries[name] = same(f)
	}
	for name, f := range m.durable {
		c.durable[name] = same(f)
	}
	for _, ch := range m.changes {
		ch.f = same(ch.f)
		c.changes = append(c.changes, ch)
	}
	return c
}

// Equal reports whether two hold the same files.
func (m *FS) Equal(o *FS) bool {
	return maps.EqualFunc(m.entries, o.entries, func(a, b *file) bool { return a.dir == b.dir && bytes.Equal(a.data, b.data) })
}

// PowerCut returns what is left after the power failed: every change of a folder that was not synced happened or not,
// and of every file what was synced and some of the rest, perhaps with a hole of zeros.
func (m *FS) PowerCut(r *rand.Rand) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := maps.Clone(m.durable)
	for _, c := range m.changes {
		if r.IntN(2) == 0 {
			c.apply(left)
		}
	}
	maps.DeleteFunc(left, func(name string, _ *file) bool {
		for dir := filepath.Dir(name); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if left[dir] == nil {
				return true
			}
		}
		return false
	})
	c := New()
	for _, name := range slices.Sorted(maps.Keys(left)) {
		f := left[name]
		data := bytes.Clone(f.synced)
		if rest := len(f.data) - len(data); rest > 0 {
			more := bytes.Clone(f.data[len(data) : len(data)+r.IntN(rest+1)])
			if len(more) > 0 && r.IntN(2) == 0 {
				clear(more[r.IntN(len(more)):])
			}
			data = append(data, more...)
		}
		c.entries[name] = &file{fs: c, dir: f.dir, data: data, synced: bytes.Clone(data)}
	}
	c.durable = maps.Clone(c.entries)
	return c
}
