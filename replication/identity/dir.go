package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockName is the lock file's name inside the directory.
const LockName = "lock"

// Lock is the ownership of a directory. The kernel frees it when the process
// ends, however it ends.
type Lock struct{ f *os.File }

// LockDir takes the directory, creating it if absent: for its owner alone, as it
// will hold the data. The error says which process holds it.
func LockDir(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close() //nolint:errcheck // nothing was written
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock directory %s: %w", dir, err)
		}
		owner := make([]byte, 20)
		n, _ := f.ReadAt(owner, 0)
		return nil, fmt.Errorf("lock directory %s: process %s owns it; stop that process or choose another directory",
			dir, strings.TrimSpace(string(owner[:n])))
	}
	// The process id serves the message above only; the lock is the flock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{f}, nil
}

// Release gives the directory up.
func (l *Lock) Release() error { return l.f.Close() }

// BootID names the machine's current boot, empty where the system has no such
// thing: then every unclean stop counts as one that may have lost bytes.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	id := strings.TrimSpace(string(b))
	if strings.ContainsAny(id, "\n") {
		return ""
	}
	return id
}

// WriteFile makes a file appear at path with what write puts into it, fsynced,
// or not at all. A crash may leave a path+".tmp", which the next call overwrites.
func WriteFile(path string, write func(f *os.File) error) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // the fault above is the one to tell
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return &unsyncedError{err}
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

// SyncDir makes the directory's entries durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
