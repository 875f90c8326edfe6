package disk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ID returns a text that identifies the open file f: its inode and the time when the
// inode was created. Copies of the file, and later files that get its inode number, have
// other IDs. ID returns "" where the file system does not report these facts.
func ID(f File) string {
	h, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return ""
	}
	var st unix.Statx_t
	err := unix.Statx(int(h.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_INO == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec)
}
