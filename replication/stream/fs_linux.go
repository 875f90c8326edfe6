package stream

import "syscall"

// keepSize is FALLOC_FL_KEEP_SIZE.
const keepSize = 1

// Allocate has the file system set blocks aside beyond the end of the file.
func (f systemFile) Allocate(off, n int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		for err = syscall.EINTR; err == syscall.EINTR; { //nolint:errorlint // the bare number, as the system returns it
			err = syscall.Fallocate(int(fd), keepSize, off, n)
		}
	}); e != nil {
		return e
	}
	return err
}
