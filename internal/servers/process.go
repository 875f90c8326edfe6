package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errPortTaken says that a server ended because another had its port.
var errPortTaken = errors.New("port is taken")

// server is what a database and a cache have in common: a program, a folder, a port, and the process while it runs.
//
//	stopped --start--> running --shutdown, kill--> stopped --remove--> gone
type server struct {
	kind   Kind
	dir    string
	ownDir bool                    // dir is a temporary folder of ours
	argv   func(port int) []string // the command line
	ready  func(ctx context.Context, s *server) bool
	grace  time.Duration // for a clean stop
	start  time.Duration // for becoming ready, where the caller's context sets no bound

	mu   sync.Mutex // guards what follows, and is held while starting and stopping
	port int
	proc *process // nil when stopped
	mark int64    // where the log of this start begins
	gone bool     // the folder was removed
}

// process is a child and the goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // how; valid once done is closed
}

// spawn starts argv in dir with its output appended to log.
func spawn(argv []string, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		// The death signal comes when the starting thread dies, not the process, so this goroutine holds on to its
		// thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	err = <-started
	if closeErr := out.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return p, nil
}

// kill ends the process at once and waits for it.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// terminate asks the process to end, waits for it, and kills it when it takes longer than grace.
func (p *process) terminate(grace time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("terminate: %w", err), p.kill())
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("terminate: still running after %s, so it was killed", grace), p.kill())
	}
}

// Addr is the address of the server, 127.0.0.1 and its port.
func (s *server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.port)
}

// Port is the server's TCP port.
func (s *server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Kind says which server this is.
func (s *server) Kind() Kind { return s.kind }

// Log is the path of the server's log.
func (s *server) Log() string { return filepath.Join(s.dir, "server.log") }

// Pid is the process id, 0 while the server does not run.
func (s *server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Tail is the end of what the server logged since it was last started.
func (s *server) Tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail(s.written(), 20)
}

// Done is closed when the present process ends, by our doing or its own; nil, which is never ready, while none runs.
func (s *server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	return s.proc.done
}

// Kill ends the server with SIGKILL and waits for it. Its files stay as they are; Restart goes on from them.
func (s *server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halt((*process).kill)
}

// Signal sends sig to the server: SIGSTOP and SIGCONT make it a server that hangs.
func (s *server) Signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return fmt.Errorf("signal %s: not running", s.kind)
	}
	if err := s.proc.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", s.kind, err)
	}
	return nil
}

// Shutdown ends the server cleanly and keeps its files; Restart goes on from them.
func (s *server) Shutdown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halt(func(p *process) error { return p.terminate(s.grace) })
}

// Stop ends the server cleanly, and removes its folder if that is a temporary one of its own. Of a stopped server only
// the folder is removed. After Kill or Shutdown it is still due.
func (s *server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.halt(func(p *process) error { return p.terminate(s.grace) })
	if s.ownDir && !s.gone {
		s.gone = true
		if removeErr := os.RemoveAll(s.dir); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove folder of %s: %w", s.kind, removeErr))
		}
	}
	return err
}

// Restart starts the server again, with the same folder and port, after Kill or Shutdown; a running one it shuts down
// first. It returns when the server is ready.
func (s *server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return fmt.Errorf("restart %s: its folder went with Stop; use Shutdown, or name a folder", s.kind)
	}
	if err := s.halt(func(p *process) error { return p.terminate(s.grace) }); err != nil {
		return err
	}
	if err := s.launch(ctx, false); err != nil {
		return fmt.Errorf("restart %s: %w", s.kind, err)
	}
	return nil
}

// halt ends the process by the given means, if there is one. s.mu is held.
func (s *server) halt(end func(*process) error) error {
	if s.proc == nil {
		return nil
	}
	p := s.proc
	s.proc = nil
	if err := end(p); err != nil {
		return fmt.Errorf("stop %s: %w", s.kind, err)
	}
	return nil
}

// launch starts the process and waits until it is ready. A port that another process took meanwhile is tried again, or
// with anyPort replaced by another. s.mu is held.
func (s *server) launch(ctx context.Context, anyPort bool) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.start)
		defer cancel()
	}
	var taken error
	for {
		if anyPort {
			port, err := FreePort()
			if err != nil {
				return err
			}
			s.port = port
		}
		err := s.launchOnce(ctx)
		if errors.Is(err, errPortTaken) {
			taken = err
		} else if ctx.Err() != nil {
			return errors.Join(taken, err)
		} else {
			return err
		}
		retry := time.NewTimer(100 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return taken
		}
	}
}

// portTaken finds what servers say when they cannot listen.
func portTaken(log string) bool {
	return strings.Contains(strings.ToLower(log), "address already in use")
}

func (s *server) launchOnce(ctx context.Context) error {
	s.mark = 0
	if info, err := os.Stat(s.Log()); err == nil {
		s.mark = info.Size()
	}
	p, err := spawn(s.argv(s.port), s.dir, s.Log())
	if err != nil {
		return err
	}
	s.proc = p
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			s.proc = nil
			text := s.written()
			if portTaken(text) {
				return fmt.Errorf("%w: %s", errPortTaken, address(s.port))
			}
			return fmt.Errorf("ended at once (%w); its log says:\n%s", p.exit(), tail(text, 20))
		case <-ctx.Done():
			s.proc = nil
			err := p.kill()
			text := s.written()
			if portTaken(text) {
				return errors.Join(fmt.Errorf("%w: %s", errPortTaken, address(s.port)), err)
			}
			return errors.Join(fmt.Errorf("wait until ready: %w; its log says:\n%s", ctx.Err(), tail(text, 20)), err)
		case <-tick.C:
			if s.ready(ctx, s) {
				return nil
			}
		}
	}
}

// exit is how an ended process ended, never nil.
func (p *process) exit() error {
	if p.err != nil {
		return p.err
	}
	return errors.New("exit status 0")
}

// written is what the server logged since it was last started.
func (s *server) written() string {
	f, err := os.Open(s.Log())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.NewSectionReader(f, s.mark, 1<<20))
	if err != nil {
		return ""
	}
	return string(text)
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
