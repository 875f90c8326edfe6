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

// Lock is an exclusive lock on a directory. The kernel releases it when the process ends in any
// way.
type Lock struct{ f *os.File }

// LockDir locks the directory for this process. It creates the directory if absent: accessible by
// its owner only, because it will hold the data, and durably, because a power cut would otherwise
// remove it with everything durable inside. If another process holds the lock, the error names its
// id. The lock file is always in the system's file system, since the kernel holds the lock.
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
		buf := make([]byte, 20)
		n, _ := f.ReadAt(buf, 0)
		owner := strings.TrimSpace(string(buf[:n]))
		return nil, fmt.Errorf("lock directory %s: process %s owns it; "+
			"stop that process or choose another directory", dir, owner)
	}
	// The process id is only for the error above; the lock itself is the flock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{f}, nil
}

// Release unlocks the directory.
func (l *Lock) Release() error { return l.f.Close() }

// BootID identifies the machine's current boot. It is empty on systems without boot ids, where
// every unclean stop counts as one that may have lost bytes.
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
