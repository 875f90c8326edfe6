package disk

import (
	"errors"
	"syscall"
)

// Free returns the room that the file system leaves to users without privileges.
func (SystemFS) Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(dir, &st)
		if !errors.Is(err, syscall.EINTR) {
			return int64(st.Bavail) * st.Bsize, err
		}
	}
}

// keepSize is FALLOC_FL_KEEP_SIZE of linux/falloc.h.
const keepSize = 1

// Allocate reserves blocks with fallocate and leaves the size of the file as it is.
func (f systemFile) Allocate(off, n int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		err = syscall.EINTR
		for err == syscall.EINTR { //nolint:errorlint // the system returns the bare number
			err = syscall.Fallocate(int(fd), keepSize, off, n)
		}
	}); e != nil {
		return e
	}
	return err
}
