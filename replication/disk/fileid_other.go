//go:build !linux

package disk

import (
	"fmt"

	"golang.org/x/sys/unix"

	"rowfall/replication/disk"
)

// ID returns a text that identifies the open file f: its inode. Copies of the file have
// other IDs. ID returns "" where the file system does not report an inode.
func ID(f disk.File) string {
	h, ok := f.(interface{ Fd() uintptr })
	var st unix.Stat_t
	if !ok || unix.Fstat(int(h.Fd()), &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d", st.Ino)
}
