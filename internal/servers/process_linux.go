package servers

import "syscall"

// childAttributes puts a child into its own process group, so that Ctrl-C in a terminal reaches
// only this process. It also has the kernel kill the child when the thread that started it ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
