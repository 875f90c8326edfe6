package stream

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what the log, and what else a node keeps on disk, needs of a file system. Names are paths; errors for a missing file
// match fs.ErrNotExist. What is made is for its owner alone: it holds the data. It and File have as many methods as there
// are operations that a power cut or a full disk can fall into.
type FS interface {
	// Open opens a file with the flags of os.OpenFile.
	Open(name string, flag int) (File, error)
	// ReadDir lists the names in a directory.
	ReadDir(dir string) ([]string, error)
	// Mkdir makes one directory. That it is there already matches fs.ErrExist.
	Mkdir(dir string) error
	// Remove removes one file.
	Remove(name string) error
	// Rename gives a file another name in its directory, in place of the one that has it.
	Rename(from, to string) error
	// SyncDir makes the directory's entries durable.
	SyncDir(dir string) error
	// Free is how many more bytes this process may put on the volume that holds a directory. Where
	// that is not known, the error matches errors.ErrUnsupported.
	Free(dir string) (int64, error)
}

// File is one open file. It may be used by many goroutines.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	// Allocate sets room aside for n bytes from off on, which may lie after the file's end, without changing its size.
	// Truncate gives it back. Where that cannot be done, the error matches errors.ErrUnsupported.
	Allocate(off, n int64) error
	Size() (int64, error)
}

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// MkdirAll makes a directory and its parents, from the top down and each durable in its parent. It is no error if they are there.
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

// ReadDir lists a directory.
func (SystemFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Mkdir makes a directory.
func (SystemFS) Mkdir(dir string) error { return os.Mkdir(dir, dirMode) }

// Remove removes a file.
func (SystemFS) Remove(name string) error { return os.Remove(name) }

// Rename renames a file.
func (SystemFS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir syncs a directory.
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
