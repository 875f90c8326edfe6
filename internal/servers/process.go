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

// ErrDamaged is the error for a database server that could not recover its own files after it was
// killed. In rare cases MariaDB 10.11 rejects its own redo log, although it synced every commit.
var ErrDamaged = errors.New("the server cannot recover its files")

// errPortInUse is the error for a server that ended because its port was in use.
var errPortInUse = errors.New("port is in use")

// server is the common part of a Database and a Cache: a program, a folder, a port, and the
// process while it runs. Its states are:
//
//	stopped --startUntilReady--> running --Shutdown, Kill--> stopped --Stop--> removed
type server struct {
	kind         Kind
	dir          string
	isTemporary  bool                    // Stop removes dir
	argv         func(port int) []string // returns the command line
	env          []string                // added to the environment of this process
	isReady      func(ctx context.Context, s *server) bool
	stopTimeout  time.Duration // for a clean stop, before the process is killed
	startTimeout time.Duration // until ready, if the caller's context has no deadline

	mu         sync.Mutex // guards the fields below; held while starting and stopping
	port       int
	proc       *process // nil when stopped
	logStart   int64    // offset at which the log of this start begins
	dirRemoved bool     // the temporary folder was removed
}

// process is a child process and the goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // the result of Wait; valid once done is closed
}

// spawn starts argv in dir, with env added to the environment, and appends its output to log.
func spawn(argv, env []string, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.Env = append(p.cmd.Environ(), env...)
	p.cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that started the child ends, not when
		// the process ends. So this goroutine keeps its thread for as long as the child lives.
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

// kill ends the process with SIGKILL and waits for it.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// terminate sends SIGTERM and waits for the process. If that takes longer than timeout, it kills
// the process and returns an error.
func (p *process) terminate(timeout time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("terminate: %w", err), p.kill())
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		err := fmt.Errorf("terminate: still running after %s, so it was killed", timeout)
		return errors.Join(err, p.kill())
	}
}

// Addr returns the server's address, 127.0.0.1 and the port.
func (s *server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.port)
}

// Port returns the server's TCP port.
func (s *server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Kind returns the kind of the server.
func (s *server) Kind() Kind { return s.kind }

// Log returns the path of the server's log.
func (s *server) Log() string { return filepath.Join(s.dir, "server.log") }

// Pid returns the process id; 0 while the server is not running.
func (s *server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Tail returns the last 20 lines that the server has logged since its last start.
func (s *server) Tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail(s.logText(), 20)
}

// Done returns a channel that is closed when the present process ends, whatever the reason. While
// the server is not running it returns nil, a channel that is never ready.
func (s *server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	return s.proc.done
}

// Kill ends the server with SIGKILL and waits for it. The files stay, and Restart continues with
// them.
func (s *server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopProcess((*process).kill)
}

// Signal sends sig to the server. SIGSTOP makes the server hang until SIGCONT.
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

// Shutdown stops the server cleanly and keeps its files. Restart continues with them.
func (s *server) Shutdown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopProcess(func(p *process) error { return p.terminate(s.stopTimeout) })
}

// Stop stops the server cleanly, and removes its folder if that is temporary. It must be called
// after Kill and Shutdown, too, and may be called more than once.
func (s *server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.stopProcess(func(p *process) error { return p.terminate(s.stopTimeout) })
	if s.isTemporary && !s.dirRemoved {
		s.dirRemoved = true
		if removeErr := os.RemoveAll(s.dir); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove folder of %s: %w", s.kind, removeErr))
		}
	}
	return err
}

// Restart starts the server with the same folder and port, and returns when it is ready. A running
// server is shut down first. ctx bounds the start as in StartDatabase and StartCache. The error is
// ErrDamaged if the server was killed before and cannot recover its files.
func (s *server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirRemoved {
		return fmt.Errorf(
			"restart %s: Stop has removed its temporary folder; use Shutdown, or set Dir", s.kind,
		)
	}
	err := s.stopProcess(func(p *process) error { return p.terminate(s.stopTimeout) })
	if err != nil {
		return err
	}
	if err := s.startUntilReady(ctx, false); err != nil {
		return fmt.Errorf("restart %s: %w", s.kind, err)
	}
	return nil
}

// stopProcess ends the process with end, if the server is running. The caller holds s.mu.
func (s *server) stopProcess(end func(*process) error) error {
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

// startUntilReady starts the process and waits until it is ready. If another process has taken the
// port meanwhile, it tries again, with anyPort on another port. The caller holds s.mu.
func (s *server) startUntilReady(ctx context.Context, anyPort bool) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.startTimeout)
		defer cancel()
	}
	var inUse error
	for {
		if anyPort {
			port, err := FreePort()
			if err != nil {
				return err
			}
			s.port = port
		}
		err := s.startOnce(ctx)
		if errors.Is(err, errPortInUse) {
			inUse = err
		} else if ctx.Err() != nil {
			return errors.Join(inUse, err)
		} else {
			return err
		}
		retry := time.NewTimer(100 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return inUse
		}
	}
}

// isPortInUse reports whether a log contains the message of a server that cannot listen.
func isPortInUse(log string) bool {
	return strings.Contains(strings.ToLower(log), "address already in use")
}

// isDamaged reports whether a log says that InnoDB could not apply its redo log.
func isDamaged(log string) bool {
	return strings.Contains(log, "aborted with error Data structure corruption")
}

// startOnce starts the process and waits until it is ready, has ended, or ctx ends.
func (s *server) startOnce(ctx context.Context) error {
	s.logStart = 0
	if info, err := os.Stat(s.Log()); err == nil {
		s.logStart = info.Size()
	}
	p, err := spawn(s.argv(s.port), s.env, s.dir, s.Log())
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
			text := s.logText()
			if isPortInUse(text) {
				return fmt.Errorf("%w: %s", errPortInUse, address(s.port))
			}
			err := p.exitError()
			if isDamaged(text) {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return fmt.Errorf(
				"server ended before it was ready: %w; its log:\n%s", err, tail(text, 20),
			)
		case <-ctx.Done():
			s.proc = nil
			err := p.kill()
			text := s.logText()
			if isPortInUse(text) {
				return errors.Join(fmt.Errorf("%w: %s", errPortInUse, address(s.port)), err)
			}
			notReady := fmt.Errorf("wait for server: %w; its log:\n%s", ctx.Err(), tail(text, 20))
			return errors.Join(notReady, err)
		case <-tick.C:
			if s.isReady(ctx, s) {
				return nil
			}
		}
	}
}

// exitError returns how an ended process has ended. It is never nil.
func (p *process) exitError() error {
	if p.err != nil {
		return p.err
	}
	return errors.New("exit status 0")
}

// logText returns what the server has logged since its last start, at most 1 MiB.
func (s *server) logText() string {
	f, err := os.Open(s.Log())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.NewSectionReader(f, s.logStart, 1<<20))
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
