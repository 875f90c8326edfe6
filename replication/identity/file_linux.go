package identity

import (
	"fmt"

	"golang.org/x/sys/unix"

	"rowfall/replication/stream"
)

// nameOf tells one file from every other that there ever was, also from one that
// got its number later: its inode and when that was made. A copy has others,
// wherever it is put. Empty: not known.
func nameOf(f stream.File) string {
	h, ok := f.(interface{ Fd() uintptr })
	var st unix.Statx_t
	if !ok || unix.Statx(int(h.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_INO == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec)
}
