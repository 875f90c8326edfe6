// Package memfs is a file system in memory for tests of durability. It can run out of space, return
// I/O errors for a damaged byte, and lose what a power cut loses: bytes that were written but not
// synced, and changes of a folder that was not synced. A faultfs.Countdown makes it fail at a given
// operation; more faults can be put around it with faultfs.Wrap.
//
// Paths are those of the program under test. A file handle is the file itself: it has no position
// and no mode, and closing it changes nothing.
package memfs

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"rowfall/internal/faultfs"
	"rowfall/replication/disk"
)

// FS is the file system. Each call of a method of disk.FS or disk.File except Free counts as one
// operation of the Countdown, which makes it fail. FS is safe for concurrent use.
type FS struct {
	*faultfs.FS
	faultfs.Countdown
	m *memory
}

var _ disk.FS = (*FS)(nil)

// New returns an empty file system.
func New() *FS {
	f := &FS{m: &memory{entries: map[string]*file{}, durable: map[string]*file{}}}
	f.FS = faultfs.Wrap(f.m, f.Hook)
	return f
}

// memory is the file system without injected faults.
type memory struct {
	mu      sync.Mutex
	entries map[string]*file // by path
	durable map[string]*file // by path: what survives every power cut
	changes []change         // changes of folders that were not synced

	quota      int64 // greatest size of all files together, in bytes; 0 means no limit
	unreserved bool  // Allocate is not supported
	noNames    bool  // creating a file fails
}

// file is a file or a folder.
type file struct {
	fs           *memory
	dir          bool
	data, synced []byte
	room         int64 // bytes from the file's start that are allocated
	badByte      int64 // offset of the unreadable byte plus 1; 0: all bytes are readable
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

// Leave limits the free space to n bytes. A negative n removes the limit.
func (v *FS) Leave(n int64) {
	m := v.m
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
func (v *FS) NoReserve() { v.m.unreserved = true }

// NoNames sets whether creating a file fails with EDQUOT, as when a quota of inodes is used up.
func (v *FS) NoNames(refused bool) {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noNames = refused
}

// Free returns the space that is left.
func (m *memory) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quota == 0 {
		return 1 << 60, nil
	}
	return max(m.freeLocked(), 0), nil
}

func (m *memory) freeLocked() int64 {
	free := m.quota
	for _, o := range m.entries {
		free -= max(o.room, int64(len(o.data)))
	}
	return free
}

// fits returns how far a file may grow towards size, and ENOSPC if that is less than size. The
// caller holds mu.
func (m *memory) fits(f *file, size int64) (int64, error) {
	if m.quota == 0 || size <= max(f.room, int64(len(f.data))) {
		return size, nil
	}
	if most := max(f.room, int64(len(f.data))) + max(m.freeLocked(), 0); size > most {
		return most, syscall.ENOSPC
	}
	return size, nil
}

// isDir reports whether a folder exists. The caller holds mu.
func (m *memory) isDir(name string) bool {
	f := m.entries[name]
	return f != nil && f.dir || name == filepath.Dir(name)
}

// change makes a change that is not durable until SyncDir. The caller holds mu.
func (m *memory) change(c change) {
	c.apply(m.entries)
	m.changes = append(m.changes, c)
}

// Open opens a file. Of the flags it knows O_CREATE, O_EXCL and O_TRUNC.
func (m *memory) Open(name string, flag int) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
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
func (m *memory) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names(dir), nil
}

// Names is ReadDir for the test: it is not counted as an operation and never fails.
func (v *FS) Names(dir string) []string {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names(dir)
}

func (m *memory) names(dir string) (names []string) {
	for name := range m.entries {
		if filepath.Dir(name) == dir && name != dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// Mkdir creates a folder in an existing one.
func (m *memory) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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
func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.entries[name]
	if !ok {
		return fs.ErrNotExist
	}
	m.change(change{name: name, f: f, removed: true})
	return nil
}

// Rename renames a file within its folder. It replaces a file of the new name.
func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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
func (m *memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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

// WriteAt writes what fits if the space is used up.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	most, err := f.fs.fits(f, off+int64(len(b)))
	if err != nil {
		b = b[:max(most-off, 0)]
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
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.data, f.room = f.data[:size], 0; f.badByte > size {
		f.badByte = 0
	}
	return nil
}

// Allocate allocates what fits before it fails with ENOSPC, as some file systems do.
func (f *file) Allocate(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
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
	return int64(len(f.data)), nil
}

func (f *file) Close() error { return nil }

// Put creates a durable file and the folders above it. It is not counted as an operation.
func (v *FS) Put(name string, data []byte) {
	m := v.m
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
func (v *FS) Damage(name string, at int64, tries int) {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[name].badByte, m.entries[name].readFailures = at+1, tries
}

// Data returns a copy of a file's content, whether or not it was synced; nil if there is no such
// file. It is not counted as an operation.
func (v *FS) Data(name string) []byte {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.entries[name]; f != nil && !f.dir {
		return append([]byte{}, f.data...)
	}
	return nil
}

// Copy returns a copy in which no operation fails: the files that a new process would find after
// this one was killed. What was not durable is not durable in the copy either.
func (v *FS) Copy() *FS {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	left := New()
	c := left.m
	copies := map[*file]*file{}
	same := func(f *file) *file {
		if copies[f] == nil {
			copies[f] = &file{
				fs: c, dir: f.dir, data: bytes.Clone(f.data), synced: bytes.Clone(f.synced),
				badByte: f.badByte, readFailures: f.readFailures,
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
	return left
}

// Equal reports whether two file systems contain the same files. Neither may be in use.
func (v *FS) Equal(o *FS) bool {
	return maps.EqualFunc(
		v.m.entries, o.m.entries,
		func(a, b *file) bool { return a.dir == b.dir && bytes.Equal(a.data, b.data) },
	)
}

// PowerCut returns the files after a power failure. Each change of a folder that was not synced
// has happened or not. Each file has what was synced and a random part of the rest, whose end may
// be zeros.
func (v *FS) PowerCut(r *rand.Rand) *FS {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := maps.Clone(m.durable)
	for _, c := range m.changes {
		if r.IntN(2) == 0 {
			c.apply(kept)
		}
	}
	maps.DeleteFunc(kept, func(name string, _ *file) bool {
		for dir := filepath.Dir(name); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if kept[dir] == nil {
				return true
			}
		}
		return false
	})
	left := New()
	c := left.m
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		f := kept[name]
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
	return left
}
