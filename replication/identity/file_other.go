//go:build !linux

package identity

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// nameOf tells a file from its copies: by its inode. Empty: not known.
func nameOf(f *os.File) string {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d", st.Ino)
}
