// Package memfs is a file system in memory for tests of durability. It can fail at a given
// operation, run out of space, return I/O errors for a damaged byte, and lose what a power cut
// loses: bytes that were written but not synced, and changes of a folder that was not synced.
//
// Paths are those of the program under test. A file handle is the file itself: it has no position
// and no mode, and closing it changes nothing.
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

	"rowfall/replication/disk"
)

// ErrInjected is the error of a failing operation for which the test has given no other error.
var ErrInjected = errors.New("injected")

// FS is the file system. Each call of a method of disk.FS or disk.File counts as one
// operation. FS is safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	entries map[string]*file // by path
	durable map[string]*file // by path: what survives every power cut
	changes []change         // changes of folders that were not synced

	quota      int64 // greatest size of all files together, in bytes; 0 means no limit
	unreserved bool  // Allocate is not supported
	noNames    bool  // creating a file fails

	operations int
	failAt     int // number of the operation that fails; 0 means none
	err        error
	once       bool // later operations succeed
	failed     bool // operation failAt was reached
}

var _ disk.FS = (*FS)(nil)

// file is a file or a folder.
type file struct {
	fs           *FS
	dir          bool
	data, synced []byte
	room         int64 // bytes from the file's start that are allocated
	badByte      int64 // offset of the unreadable byte plus 1; 0 means none
	readFailures int   // reads of badByte that still fail; negative means all
}

// change is a change of one folder: after it, path name refers to f. A file that was renamed
// leaves path from; a file that was removed leaves path name. A power cut loses the whole change
// or nothing of it.
type change struct {
	name, from string
	f          *file
	removed    bool
}

// apply makes the change in a map of entries.
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

// FailAt makes the n-th operation from now on fail, and all operations after it. 1 is the next
// operation; 0 ends all failures. err nil means ErrInjected.
func (m *FS) FailAt(n int, err error) { m.failAtOperation(n, err, false) }

// FailOnceAt is FailAt for that one operation: later ones succeed.
func (m *FS) FailOnceAt(n int, err error) { m.failAtOperation(n, err, true) }

func (m *FS) failAtOperation(n int, err error, once bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = ErrInjected
	}
	m.failAt, m.err, m.once, m.failed = 0, err, once, false
	if n > 0 {
		m.failAt = m.operations + n
	}
}

// Failed reports whether the operation that FailAt or FailOnceAt has named was reached.
func (m *FS) Failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// countOperation counts an operation, and returns the error that it is to fail with. The caller
// holds mu.
func (m *FS) countOperation() error {
	m.operations++
	if m.failAt > 0 && (m.operations == m.failAt || m.operations > m.failAt && !m.once) {
		m.failed = true
		return m.err
	}
	return nil
}

// Leave limits the free space to n bytes. A negative n removes the limit.
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

// NoReserve makes Allocate fail with EOPNOTSUPP. It must be called before the file system is used.
func (m *FS) NoReserve() { m.unreserved = true }

// NoNames sets whether creating a file fails with EDQUOT, as when a quota of inodes is used up.
func (m *FS) NoNames(refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noNames = refused
}

// Free returns the space that is left. It neither counts as an operation nor fails, because a node
// asks by the clock.
func (m *FS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quota == 0 {
		return 1 << 60, nil
	}
	return max(m.freeLocked(), 0), nil
}

func (m *FS) freeLocked() int64 {
	free := m.quota
	for _, o := range m.entries {
		free -= max(o.room, int64(len(o.data)))
	}
	return free
}

// fits returns how far a file may grow towards size, and ENOSPC if that is less than size. The
// caller holds mu.
func (m *FS) fits(f *file, size int64) (int64, error) {
	if m.quota == 0 || size <= max(f.room, int64(len(f.data))) {
		return size, nil
	}
	if most := max(f.room, int64(len(f.data))) + max(m.freeLocked(), 0); size > most {
		return most, syscall.ENOSPC
	}
	return size, nil
}

// isDir reports whether a folder exists. The caller holds mu.
func (m *FS) isDir(name string) bool {
	f := m.entries[name]
	return f != nil && f.dir || name == filepath.Dir(name)
}

// change makes a change that is not durable until SyncDir. The caller holds mu.
func (m *FS) change(c change) {
	c.apply(m.entries)
	m.changes = append(m.changes, c)
}

// Open opens a file. Of the flags it knows O_CREATE, O_EXCL and O_TRUNC.
func (m *FS) Open(name string, flag int) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.countOperation(); err != nil {
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

// ReadDir returns the sorted names in a folder.
func (m *FS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names(dir), m.countOperation()
}

// Names is ReadDir for the test: it is not counted as an operation and never fails.
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

// Mkdir creates a folder in an existing one.
func (m *FS) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.countOperation(); err != nil {
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

// Remove removes a file or a folder, whether or not the folder is empty.
func (m *FS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.countOperation(); err != nil {
		return err
	}
	f, ok := m.entries[name]
	if !ok {
		return fs.ErrNotExist
	}
	m.change(change{name: name, f: f, removed: true})
	return nil
}

// Rename renames a file within its folder. It replaces a file of the new name.
func (m *FS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.countOperation(); err != nil {
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
	if err := m.countOperation(); err != nil {
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

// ReadAt fails with EIO at a damaged byte.
func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.countOperation(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if bad := f.badByte - 1; f.badByte > 0 && off <= bad && bad < off+int64(n) {
		if f.readFailures != 0 {
			f.readFailures--
			return int(bad - off), syscall.EIO
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of b if the operation is to fail, and what fits if the space is used up.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.countOperation()
	if err != nil {
		b = b[:len(b)/2]
	}
	if most, e := f.fs.fits(f, off+int64(len(b))); e != nil && err == nil {
		b, err = b[:max(most-off, 0)], e
	}
	if bad := f.badByte - 1; off <= bad && bad < off+int64(len(b)) {
		f.badByte = 0 // a disk remaps a bad sector when it is written
	}
	if need := off + int64(len(b)); need > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, need-int64(len(f.data)))...)
	}
	return copy(f.data[off:], b), err
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.countOperation(); err != nil {
		return err
	}
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.countOperation(); err != nil {
		return err
	}
	if f.data, f.room = f.data[:size], 0; f.badByte > size {
		f.badByte = 0
	}
	return nil
}

// Allocate allocates what fits before it fails with ENOSPC, as some file systems do.
func (f *file) Allocate(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.countOperation(); err != nil {
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
	return int64(len(f.data)), f.fs.countOperation()
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.countOperation()
}

// Put creates a durable file and the folders above it. It is not counted as an operation.
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

// Damage makes the byte at offset at of a file unreadable: reading it fails with EIO, `tries`
// times or, if that is negative, every time. Writing the byte repairs it.
func (m *FS) Damage(name string, at int64, tries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[name].badByte, m.entries[name].readFailures = at+1, tries
}

// Data returns a copy of a file's content, whether or not it was synced; nil if there is no such
// file. It is not counted as an operation.
func (m *FS) Data(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.entries[name]; f != nil && !f.dir {
		return append([]byte{}, f.data...)
	}
	return nil
}

// Copy returns a copy in which no operation fails: the files that a new process would find after
// this one was killed. What was not durable is not durable in the copy either.
func (m *FS) Copy() *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := New()
	copies := map[*file]*file{}
	same := func(f *file) *file {
		if copies[f] == nil {
			copies[f] = &file{
				fs: c, dir: f.dir, data: bytes.Clone(f.data), synced: bytes.Clone(f.synced), badByte: f.badByte,
				readFailures: f.readFailures,
			}
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

// Equal reports whether two file systems contain the same files. Neither may be in use.
func (m *FS) Equal(o *FS) bool {
	return maps.EqualFunc(
		m.entries, o.entries,
		func(a, b *file) bool { return a.dir == b.dir && bytes.Equal(a.data, b.data) },
	)
}

// PowerCut returns the files after a power failure. Each change of a folder that was not synced
// has happened or not. Each file has what was synced and a random part of the rest, whose end may
// be zeros.
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
