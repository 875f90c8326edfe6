//go:build !linux

package servers

import "syscall"

// childAttributes puts a child into its own process group, so that Ctrl-C in a terminal reaches
// only this process.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
