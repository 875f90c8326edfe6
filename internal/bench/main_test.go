//go:build bench

package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// jobEnv is the environment variable that makes the test binary run as a contender. Its value is a
// job.
const jobEnv = "ROWFALL_BENCH_JOB"

// beforeEnv is the environment variable with the path of this test binary, built from an older
// version of Rowfall. Its contender "rowfall" runs as the contender "rowfall-before".
const beforeEnv = "ROWFALL_BENCH_BEFORE"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// job is the task of a contender.
type job struct {
	Contender string // rowfall, rowfall-before, canal, drain, fed
	MySQL     string // host:port
	Tables    string // database of the tables: bench or census
	Start     string // a POSITION as of `rowfall run --from`

	// Dir is the folder of Rowfall's node. With Catchup the folder holds loaded tables, the node
	// accepts replicas before the pipeline starts, and the run ends at the marker. Without Catchup
	// the run ends when the tables have been loaded.
	Dir     string
	Catchup bool
	// Parallel is the number of SELECTs at a time of the initial load; 0 means 2.
	Parallel int

	// Redis is the address that canal writes to. FlushAfter is how long canal keeps fewer than
	// flushCommands commands; 0 means no limit.
	Redis      string
	FlushAfter time.Duration

	// Rows is the number of rows that a fed node has when it is ready. With Texts it has as many
	// strings, too.
	Rows  int
	Texts bool
}

// usage is what a process has used since its start, at a moment.
type usage struct {
	Time         time.Time
	User, System time.Duration
	Rows         uint64 // rows handled so far
	Resident     int64  // resident memory in bytes; 0 where the system does not report it
}

// message is a line that a contender sends to the test.
type message struct {
	Kind string // ready, done, usage, failed
	Addr string // ready: the node's address
	// done: at the first row and at the marker, or at start and end of the initial load. usage:
	// Last is the present usage.
	First, Last usage
	Rows        int // written: rows that a fed node has written at the last rate
	Error       string
}

// currentUsage returns what this process has used so far.
func currentUsage(rows uint64) usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it fails only for invalid arguments
	u := usage{
		Time: time.Now(), User: time.Duration(r.Utime.Nano()),
		System: time.Duration(r.Stime.Nano()),
		Rows:   rows,
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			u.Resident = pages * int64(os.Getpagesize())
		}
	}
	return u
}

// testPipe is a contender's connection to the test: standard input and output.
type testPipe struct {
	mu       sync.Mutex
	out      *json.Encoder
	goSignal chan struct{} // closed at the command "go"
	rates    chan int      // rows/s of the command "rate", for a fed node
}

func (l *testPipe) send(m message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Encode(m)
}

// handleCommands handles the test's commands until the test closes the pipe or dies.
func (l *testPipe) handleCommands(r io.Reader) {
	stopProfile := profile("")
	defer func() { stopProfile() }()
	for in := bufio.NewScanner(r); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		switch command {
		case "go":
			close(l.goSignal)
		case "profile":
			stopProfile()
			if stopProfile = profile(arg); arg == "" {
				_ = l.send(message{Kind: "usage", Last: currentUsage(0)})
			}
		case "rate":
			rate, _ := strconv.Atoi(arg)
			l.rates <- rate
		case "usage":
			_ = l.send(message{Kind: "usage", Last: currentUsage(0)})
		}
	}
}

// profile records this process's CPU until stop is called. An empty path records nothing.
func profile(path string) (stop func()) {
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: profile:", err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // reading an incomplete profile shows the fault
	}
}

// runChild runs the contender of a job, given as JSON.
func runChild(text string) error {
	// The test handles an interrupt, and then closes the pipe.
	signal.Ignore(os.Interrupt)
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("parse job: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &testPipe{
		out: json.NewEncoder(os.Stdout), goSignal: make(chan struct{}), rates: make(chan int),
	}
	go func() { // ends with the process, because a read of standard input cannot be cancelled
		l.handleCommands(os.Stdin)
		cancel()
	}()
	contenders := map[string]func(context.Context, job, *testPipe) error{
		"rowfall": runRowfall,
		"canal":   runCanal,
		"drain":   runDrain,
		"fed":     runFed,
	}
	run := contenders[j.Contender]
	if run == nil {
		return fmt.Errorf("run contender %q: it is not known", j.Contender)
	}
	if err := run(ctx, j, l); err != nil && ctx.Err() == nil {
		return errors.Join(err, l.send(message{Kind: "failed", Error: err.Error()}))
	}
	return nil
}

// child is a contender's process, as the test sees it.
type child struct {
	tb    testing.TB
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// contenderTimeout bounds the life of a contender, so that a hanging one fails the test.
const contenderTimeout = 15 * time.Minute

// gcPercent is the setting of Go's garbage collector for all contenders. cmd/rowfall uses it, too.
const gcPercent = "GOGC=200"

// executable returns the path of a contender's binary, and the contender's name in the binary.
func executable(tb testing.TB, contender string) (path, name string) {
	tb.Helper()
	if name, ok := strings.CutSuffix(contender, "-before"); ok {
		return os.Getenv(beforeEnv), name
	}
	path, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return path, contender
}

// start starts a contender. It is stopped at the end of the test at the latest.
func start(tb testing.TB, j job) *child {
	tb.Helper()
	var path string
	c := &child{tb: tb, name: j.Contender}
	path, j.Contender = executable(tb, j.Contender)
	text, err := json.Marshal(j)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), contenderTimeout)
	c.cmd = exec.CommandContext(ctx, path)
	c.cmd.Env = append(os.Environ(), jobEnv+"="+string(text))
	if _, set := os.LookupEnv("GOGC"); !set {
		c.cmd.Env = append(c.cmd.Env, gcPercent)
	}
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	c.in, c.lines = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.stop()
		cancel()
	})
	return c
}

// send sends a command.
func (c *child) send(command string) {
	c.tb.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.tb.Fatalf("%s: send command %s: %v", c.name, command, err)
	}
}

// profile records the contender's CPU in a file of folder until stopProfile is called. An empty
// folder records nothing.
func (c *child) profile(folder, name string) (stopProfile func()) {
	c.tb.Helper()
	if folder == "" {
		return func() {}
	}
	c.send("profile " + filepath.Join(folder, name+".pprof"))
	return func() {
		c.send("profile")
		c.expect("usage") // the reply comes when the profile has been written
	}
}

// expect waits for a message of a kind.
func (c *child) expect(kind string) message {
	c.tb.Helper()
	for c.lines.Scan() {
		var m message
		if err := json.Unmarshal(c.lines.Bytes(), &m); err != nil {
			c.tb.Fatalf("%s: parse message %q: %v", c.name, c.lines.Bytes(), err)
		}
		switch m.Kind {
		case kind:
			return m
		case "failed":
			c.tb.Fatalf("%s: %s", c.name, m.Error)
		}
	}
	c.tb.Fatalf("%s: ended before it sent %q", c.name, kind)
	return message{}
}

// stop ends the contender and waits for it.
func (c *child) stop() {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.in.Close() // the contender ends when its input is closed
	if err := c.cmd.Wait(); err != nil {
		c.tb.Errorf("%s: %v", c.name, err)
	}
}
