package servers

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an exclusive lock on f and reports whether it succeeded. It fails if another open
// file has the lock. The kernel releases the lock when f is closed or the process ends.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}
