package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"rowfall/replication/disk"
)

// LockName is the lock file's name inside the directory.
const LockName = "lock"

// Lock is the ownership of a directory. The kernel frees it when the process
// ends, however it ends.
type Lock struct{ f *os.File }

// LockDir takes the directory, creating it if absent: for its owner alone, as it
// will hold the data, and durably, or what is durable inside it would go with it.
// The error says which process holds it. The lock is the kernel's and no file
// system's matter, so it is always taken in the operating system's.
func LockDir(fsys disk.FS, dir string) (*Lock, error) {
	if err := disk.MkdirAll(fsys, dir); err != nil {
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
