package servers

import "syscall"

// childAttributes puts a child into a process group of its own, so that Ctrl-C in a terminal reaches us and not it, and
// has the kernel kill it when the thread that started it ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
