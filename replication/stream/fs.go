package stream

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what the log needs of a file system. Names are paths; errors for a missing file match fs.ErrNotExist.
type FS interface {
	// Open opens a file with the flags of os.OpenFile.
	Open(name string, flag int) (File, error)
	// ReadDir lists the names in a directory.
	ReadDir(dir string) ([]string, error)
	// MkdirAll makes a directory and its parents; it is no error if they are there.
	MkdirAll(dir string) error
	// Remove removes one file.
	Remove(name string) error
	// SyncDir makes the directory's entries durable.
	SyncDir(dir string) error
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

// systemFS is the operating system's file system.
type systemFS struct{}

type systemFile struct{ *os.File }

func (f systemFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (systemFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

func (systemFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// MkdirAll makes each new directory durable in its parent, from the top down.
func (s systemFS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	switch i, err := os.Stat(dir); {
	case err == nil && i.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a directory", dir)
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := s.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil {
		return err
	}
	return s.SyncDir(parent)
}

func (systemFS) Remove(name string) error { return os.Remove(name) }

func (systemFS) SyncDir(dir string) error {
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
