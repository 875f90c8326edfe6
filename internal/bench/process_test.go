//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is the process of a server, as the system reports it.
type process struct {
	tb  testing.TB
	pid int
}

// cpu returns the CPU time of the process, with its part in the kernel, to a hundredth of a second.
func (p process) cpu() time.Duration {
	p.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		p.tb.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, i := range []int{11, 12} { // utime and stime, counted from the state
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			p.tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident returns the bytes of resident memory.
func (p process) resident() float64 { return p.status("VmRSS:") }

// largest returns the largest resident memory since the start of the process.
func (p process) largest() float64 { return p.status("VmHWM:") }

// status returns a number of bytes from the status of the process.
func (p process) status(field string) float64 {
	p.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				p.tb.Fatal(err)
			}
			return float64(kib) * 1024
		}
	}
	p.tb.Fatalf("process %d: its status has no %s", p.pid, field)
	return 0
}
