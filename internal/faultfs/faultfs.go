package faultfs

import (
	"io"
	"os"
	"slices"

	"rowfall/replication/disk"
)

// Kind is a method of disk.FS or disk.File.
type Kind uint8

// The kinds of operations. The first seven are methods of disk.FS, the others of disk.File.
const (
	OpOpen Kind = iota
	OpReadDir
	OpMkdir
	OpRemove
	OpRename
	OpSyncDir
	OpFree
	OpReadAt
	OpWriteAt
	OpSync
	OpTruncate
	OpAllocate
	OpSize
	OpClose
)

// Op is one operation. Fields without a meaning for its kind are zero.
type Op struct {
	Kind Kind
	// Name is the path of the file or directory, as it was given to Open if the operation is one of
	// a file. Of a Rename it is the old path.
	Name string
	// NewName is the new path of a Rename.
	NewName string
	// Flag holds the flags of an Open.
	Flag int
	// Data is the buffer of a ReadAt or WriteAt. A hook may shorten it.
	Data []byte
	// Offset is where a ReadAt, WriteAt or Allocate begins.
	Offset int64
	// Size is the size in bytes of a Truncate or Allocate.
	Size int64
}

// Creates reports whether the operation creates the file if it is missing.
func (o *Op) Creates() bool { return o.Kind == OpOpen && o.Flag&os.O_CREATE != 0 }

// Hook is called instead of an operation. next runs the remaining hooks and then the operation
// itself. The error that the hook returns is the error of the operation. Any number of goroutines
// may call a hook at the same time.
type Hook func(op *Op, next func() error) error

// FS is a file system whose operations go through hooks. It is safe for concurrent use if its hooks
// are.
type FS struct {
	base      disk.FS
	hooks     []Hook
	namesOnly bool
}

var _ disk.FS = (*FS)(nil)

// Wrap returns base with hooks around each operation of the file system and of its open files. An
// open file has the methods of disk.File only, and no file descriptor.
func Wrap(base disk.FS, hooks ...Hook) *FS { return &FS{base: base, hooks: hooks} }

// WrapNames is Wrap without hooks around the operations of open files. Open returns the files of
// base unchanged, so that a program which uses their file descriptors runs as without hooks.
func WrapNames(base disk.FS, hooks ...Hook) *FS {
	return &FS{base: base, hooks: hooks, namesOnly: true}
}

// run runs an operation through the hooks.
func (f *FS) run(op *Op, do func() error) error {
	for _, hook := range slices.Backward(f.hooks) {
		next := do
		do = func() error { return hook(op, next) }
	}
	return do()
}

// Open opens a file.
func (f *FS) Open(name string, flag int) (disk.File, error) {
	var opened disk.File
	op := &Op{Kind: OpOpen, Name: name, Flag: flag}
	err := f.run(op, func() (err error) {
		opened, err = f.base.Open(name, flag)
		return err
	})
	if err != nil {
		if opened != nil { // the hook returned an error after the file was opened
			_ = opened.Close()
		}
		return nil, err
	}
	if f.namesOnly {
		return opened, nil
	}
	return &file{base: opened, fs: f, name: name}, nil
}

// ReadDir returns the names in a directory.
func (f *FS) ReadDir(dir string) (names []string, err error) {
	err = f.run(&Op{Kind: OpReadDir, Name: dir}, func() (err error) {
		names, err = f.base.ReadDir(dir)
		return err
	})
	return names, err
}

// Mkdir creates a directory.
func (f *FS) Mkdir(dir string) error {
	return f.run(&Op{Kind: OpMkdir, Name: dir}, func() error { return f.base.Mkdir(dir) })
}

// Remove removes a file.
func (f *FS) Remove(name string) error {
	return f.run(&Op{Kind: OpRemove, Name: name}, func() error { return f.base.Remove(name) })
}

// Rename renames a file.
func (f *FS) Rename(from, to string) error {
	op := &Op{Kind: OpRename, Name: from, NewName: to}
	return f.run(op, func() error { return f.base.Rename(from, to) })
}

// SyncDir makes the entries of a directory durable.
func (f *FS) SyncDir(dir string) error {
	return f.run(&Op{Kind: OpSyncDir, Name: dir}, func() error { return f.base.SyncDir(dir) })
}

// Free returns the free room in bytes.
func (f *FS) Free(dir string) (n int64, err error) {
	err = f.run(&Op{Kind: OpFree, Name: dir}, func() (err error) {
		n, err = f.base.Free(dir)
		return err
	})
	return n, err
}

// file is an open file whose operations go through the hooks.
type file struct {
	base disk.File
	fs   *FS
	name string
}

// ReadAt reads bytes.
func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	op := &Op{Kind: OpReadAt, Name: f.name, Data: b, Offset: off}
	err = f.fs.run(op, func() (err error) {
		n, err = f.base.ReadAt(op.Data, off)
		return err
	})
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteAt writes bytes.
func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	op := &Op{Kind: OpWriteAt, Name: f.name, Data: b, Offset: off}
	err = f.fs.run(op, func() (err error) {
		n, err = f.base.WriteAt(op.Data, off)
		return err
	})
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Sync makes the file durable.
func (f *file) Sync() error {
	return f.fs.run(&Op{Kind: OpSync, Name: f.name}, f.base.Sync)
}

// Truncate changes the file's size.
func (f *file) Truncate(size int64) error {
	op := &Op{Kind: OpTruncate, Name: f.name, Size: size}
	return f.fs.run(op, func() error { return f.base.Truncate(size) })
}

// Allocate reserves room.
func (f *file) Allocate(off, n int64) error {
	op := &Op{Kind: OpAllocate, Name: f.name, Offset: off, Size: n}
	return f.fs.run(op, func() error { return f.base.Allocate(off, n) })
}

// Size returns the file's size in bytes.
func (f *file) Size() (n int64, err error) {
	err = f.fs.run(&Op{Kind: OpSize, Name: f.name}, func() (err error) {
		n, err = f.base.Size()
		return err
	})
	return n, err
}

// Close closes the file, even if a hook makes it fail.
func (f *file) Close() error {
	closed := false
	err := f.fs.run(&Op{Kind: OpClose, Name: f.name}, func() error {
		closed = true
		return f.base.Close()
	})
	if !closed {
		_ = f.base.Close() // the hook's error is the one to report
	}
	return err
}
