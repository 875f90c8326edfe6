package identity

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"rowfall/replication/stream"
)

// ReadFile returns what a file holds.
func ReadFile(fsys stream.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, size))
}

// NameOf returns a name that tells the file at path from its copies and from every
// later file of the same path; empty where the file system has no such thing.
func NameOf(fsys stream.FS, path string) (string, error) {
	f, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	return nameOf(f), nil
}

// Temporary is what a file is called until it is whole.
func Temporary(path string) string { return path + ".tmp" }

// WriteFile makes a file appear at path with what write puts into it, fsynced,
// or not at all. A crash may leave its Temporary, which the next call overwrites.
func WriteFile(fsys stream.FS, path string, write func(f stream.File) error) error {
	tmp := Temporary(path)
	f, err := fsys.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err == nil {
		if err = write(f); err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err == nil {
			err = fsys.Rename(tmp, path)
		}
		if err != nil {
			fsys.Remove(tmp) //nolint:errcheck // the fault above is the one to tell
		}
	}
	switch {
	case IsFull(err):
		return fmt.Errorf("write %s: %w; free some space there", path, err)
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return &unsyncedError{fmt.Errorf("sync directory of %s: %w", path, err)}
	}
	return nil
}

// unsyncedError says that a file has its new contents, but perhaps not for long.
type unsyncedError struct{ err error }

func (e *unsyncedError) Error() string { return e.err.Error() }
func (e *unsyncedError) Unwrap() error { return e.err }

// IsFull says whether err is WriteFile's for a disk, or a quota on it, without
// room: the file is what it was.
func IsFull(err error) bool {
	return !errors.As(err, new(*unsyncedError)) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}
