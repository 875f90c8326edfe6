package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A stop that hangs, here because the disk does, is ended by a second Ctrl-C. The
// first one only asks for it: nothing of what was written is lost by the second.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // no MySQL ever answers
	must(t, err)
	defer silent.Close()
	for name, args := range map[string]func(addr, dir string) []string{
		"node": func(addr, dir string) []string {
			return []string{
				"node", "--listen", addr, "--dir",
				dir,
			}
		},
		"run": func(addr, dir string) []string {
			file := filepath.Join(t.TempDir(), "shop.yaml")
			text := fmt.Sprintf("pipeline: shop\nsource: {mysql: {addresses: [%q], user: "+
				"root}}\ntables: {\"shop.*\": {}}\nsink: {node: {listen: %q, dir: %q}}\n",
				silent.Addr(), addr, dir)
			must(t, os.WriteFile(file, []byte(text), 0o600))
			return []string{"run", file}
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, dir := testAddr(t), t.TempDir()
			p := startProcess(t, addr, args(addr, dir)...)
			// Until then the node writes its identity, under the name that the FIFO gets.
			p.waitForLog("node started")
			file := filepath.Join(dir, "identity.tmp")
			must(t, unix.Mkfifo(file, 0o600)) // who opens it to write waits for a reader
			must(t, p.cmd.Process.Signal(os.Interrupt))
			waitFor(t, "it stops", func(ctx context.Context) (bool, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				if err == nil {
					_ = conn.Close() // that it could be opened is all
				}
				return err != nil, nil
			})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = p.cmd.Wait() // the error is that it was killed
			}()
			waitFor(t, "Ctrl-C ends it", func(context.Context) (bool, error) {
				select {
				case <-ended:
					return true, nil
				default:
					_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended just now
					return false, nil
				}
			})
			if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() ||
				s.Signal() != syscall.SIGINT {
				t.Errorf("it ended with %v", p.cmd.ProcessState)
			}
			p.cmd = nil
			must(t, os.Remove(file))
			p.start()
		})
	}
}
