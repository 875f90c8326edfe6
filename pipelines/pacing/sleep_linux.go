package pacing

import (
	"errors"
	"runtime"
	"syscall"
	"time"
)

// sleep waits with the precision of the kernel's timers. In an idle process time.Sleep rounds up to
// a whole millisecond. The system call may keep a processor of Go's scheduler for the whole sleep,
// so a process with only one processor uses time.Sleep.
func sleep(d time.Duration) {
	if runtime.GOMAXPROCS(0) == 1 {
		time.Sleep(d)
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	for errors.Is(syscall.Nanosleep(&t, &t), syscall.EINTR) { // t is what is left
	}
}
