package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ReadFile returns the contents of a file.
func ReadFile(fsys FS, path string) ([]byte, error) {
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

// Temporary returns the name that WriteFile uses for path until the file is complete.
func Temporary(path string) string { return path + ".tmp" }

// WriteFile replaces the file at path by one with the contents that write puts into it,
// fsynced, or leaves it as it was. A crash can leave a file at Temporary(path), which the
// next call overwrites. IsFull reports whether the error means a full disk.
func WriteFile(fsys FS, path string, write func(f File) error) error {
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
			fsys.Remove(tmp) //nolint:errcheck // the error above is the one to report
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

// unsyncedError is returned when a file has its new contents, but a power cut may still
// bring the old ones back.
type unsyncedError struct{ err error }

func (e *unsyncedError) Error() string { return e.err.Error() }
func (e *unsyncedError) Unwrap() error { return e.err }

// IsFull reports whether err means that the disk, or a quota on it, has no room, and that
// the file is as it was before.
func IsFull(err error) bool {
	return !errors.As(err, new(*unsyncedError)) &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}
