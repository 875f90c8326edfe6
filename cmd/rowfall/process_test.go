package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a rowfall of its own, which a test may kill and start again.
type process struct {
	t    *testing.T
	args []string
	log  string
	addr string
	cmd  *exec.Cmd
}

// startProcess starts rowfall with args; it must listen on addr.
func startProcess(t *testing.T, addr string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, addr: addr, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("log of rowfall %s:\n%s", strings.Join(args, " "), text[max(0, len(text)-6000):])
		}
	})
	p.start()
	return p
}

func (p *process) start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(self, p.args...)
	p.cmd.Env = append(os.Environ(), beRowfall+"=1")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	waitFor(p.t, "rowfall listens on "+p.addr, func(context.Context) (bool, error) {
		c, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

// waitForLog waits until the process has logged a text.
func (p *process) waitForLog(text string) {
	p.t.Helper()
	waitFor(p.t, "rowfall logs "+text, func(context.Context) (bool, error) {
		log, err := os.ReadFile(p.log)
		return strings.Contains(string(log), text), err
	})
}

// end sends a signal and waits for the process.
func (p *process) end(s syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// kill ends the process as a power cut of the process alone would.
func (p *process) kill() { p.end(syscall.SIGKILL) }
