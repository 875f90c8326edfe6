package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the file system as a node uses it. Names are paths; errors for a missing file
// match fs.ErrNotExist. Files and directories are created for their owner alone,
// because they hold the data. FS and File have one method for each operation that a
// power cut or a full disk can interrupt; this is why there are more than five.
type FS interface {
	// Open opens a file with the flags of os.OpenFile.
	Open(name string, flag int) (File, error)
	// ReadDir returns the names in a directory.
	ReadDir(dir string) ([]string, error)
	// Mkdir creates one directory. An existing one is an error that matches
	// fs.ErrExist.
	Mkdir(dir string) error
	// Remove removes one file.
	Remove(name string) error
	// Rename gives a file a new name in its directory and replaces the file that has
	// that name.
	Rename(from, to string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Free returns the number of bytes that this process can still write to the volume
	// of a directory. Where that is unknown, the error matches errors.ErrUnsupported.
	Free(dir string) (int64, error)
}

// File is one open file. Any number of goroutines may use it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	// Allocate reserves room for n bytes from offset off, which may lie behind the
	// file's end, without changing the file's size. Truncate releases the room. Where
	// the file system cannot reserve room, the error matches errors.ErrUnsupported.
	Allocate(off, n int64) error
	// Size returns the file's size in bytes.
	Size() (int64, error)
}

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// MkdirAll creates a directory and its parents from the top down, each durable in its
// parent. Existing directories are fine.
func MkdirAll(fsys FS, dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	err := fsys.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err = MkdirAll(fsys, parent); err == nil {
			err = fsys.Mkdir(dir)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// SystemFS is the operating system's file system.
type SystemFS struct{}

type systemFile struct{ *os.File }

func (f systemFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// Open opens a file.
func (SystemFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

// ReadDir returns the names in a directory.
func (SystemFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Mkdir creates a directory.
func (SystemFS) Mkdir(dir string) error { return os.Mkdir(dir, dirMode) }

// Remove removes a file.
func (SystemFS) Remove(name string) error { return os.Remove(name) }

// Rename renames a file.
func (SystemFS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir makes the entries of a directory durable.
func (SystemFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
