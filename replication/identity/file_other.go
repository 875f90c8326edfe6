//go:build !linux

package identity

import (
	"fmt"

	"golang.org/x/sys/unix"

	"rowfall/replication/stream"
)

// nameOf tells a file from its copies: by its inode. Empty: not known.
func nameOf(f stream.File) string {
	h, ok := f.(interface{ Fd() uintptr })
	var st unix.Stat_t
	if !ok || unix.Fstat(int(h.Fd()), &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d", st.Ino)
}
