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

// jobVariable makes the test binary a contender instead of running tests.
const jobVariable = "ROWFALL_BENCH_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// job is what a contender is told.
type job struct {
	Contender string // rowfall, canal, drain
	MySQL     string // host:port
	Tables    string // of which database: bench, census
	Start     string // POSITION

	// Rowfall: the node's folder, which must hold the loaded tables for Catchup, a run up to the marker with a node that
	// replicas may follow before. Otherwise the run loads the tables and is done then.
	Dir     string
	Catchup bool

	// canal: where it writes, and after how long it does so with less than 1,000 commands; 0: never.
	Redis      string
	FlushAfter time.Duration
}

// usage is what a process has used up to a moment.
type usage struct {
	Time         time.Time
	User, System time.Duration
	Rows         uint64 // handled so far
	Resident     int64  // bytes, 0 where the system does not say
}

// message is a line from a contender.
type message struct {
	Kind        string // ready, done, usage, failed
	Addr        string // ready: where a node listens
	First, Last usage  // done: first row and marker, or start and end of the first load; usage: Last
	Window      int64  // done, rowfall: bytes of the log that are in memory, whatever the number of rows
	Error       string
}

func usageNow(rows uint64) usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it fails for bad arguments only
	u := usage{Time: time.Now(), User: time.Duration(r.Utime.Nano()), System: time.Duration(r.Stime.Nano()), Rows: rows}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			u.Resident = pages * int64(os.Getpagesize())
		}
	}
	return u
}

// link is a contender's side of the talk with the test.
type link struct {
	mu   sync.Mutex
	out  *json.Encoder
	goes chan struct{} // closed at the word
}

func (l *link) send(m message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Encode(m)
}

// listen obeys the test until it closes the pipe or dies.
func (l *link) listen(r io.Reader) {
	stopProfile := profile("")
	defer func() { stopProfile() }()
	for in := bufio.NewScanner(r); in.Scan(); {
		word, path, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "go":
			close(l.goes)
		case "profile":
			stopProfile()
			if stopProfile = profile(path); path == "" {
				_ = l.send(message{Kind: "usage", Last: usageNow(0)})
			}
		case "usage":
			_ = l.send(message{Kind: "usage", Last: usageNow(0)})
		}
	}
}

// profile records this process's CPU until the returned function is called; an empty path is none.
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
		_ = f.Close() // a profile cut short shows when it is read
	}
}

func runChild(text string) error {
	// An interrupt is the test's to handle; it closes the pipe.
	signal.Ignore(os.Interrupt)
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &link{out: json.NewEncoder(os.Stdout), goes: make(chan struct{})}
	go func() { // ends with the process: a read of standard input cannot be called off
		l.listen(os.Stdin)
		cancel()
	}()
	contenders := map[string]func(context.Context, job, *link) error{"rowfall": runRowfall, "canal": runCanal, "drain": runDrain}
	run := contenders[j.Contender]
	if run == nil {
		return fmt.Errorf("no contender %q", j.Contender)
	}
	if err := run(ctx, j, l); err != nil && ctx.Err() == nil {
		return errors.Join(err, l.send(message{Kind: "failed", Error: err.Error()}))
	}
	return nil
}

// child is a contender as the test sees it.
type child struct {
	tb    testing.TB
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// childLife bounds a contender's whole life, so that a hanging one is a failure with a name.
const childLife = 5 * time.Minute

// start begins a contender; it is stopped at the end of the test if not before.
func start(tb testing.TB, j job) *child {
	tb.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		tb.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), childLife)
	c := &child{tb: tb, name: j.Contender, cmd: exec.CommandContext(ctx, self)}
	c.cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
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

// tell sends a word.
func (c *child) tell(word string) {
	c.tb.Helper()
	if _, err := io.WriteString(c.in, word+"\n"); err != nil {
		c.tb.Fatalf("%s: tell it %s: %v", c.name, word, err)
	}
}

// profile records the contender's CPU in a file until stopProfile; without a folder for profiles it does nothing.
func (c *child) profile(folder, name string) (stopProfile func()) {
	c.tb.Helper()
	if folder == "" {
		return func() {}
	}
	c.tell("profile " + filepath.Join(folder, name+".pprof"))
	return func() {
		c.tell("profile")
		c.expect("usage") // it is written
	}
}

// expect waits for a message of a kind.
func (c *child) expect(kind string) message {
	c.tb.Helper()
	for c.lines.Scan() {
		var m message
		if err := json.Unmarshal(c.lines.Bytes(), &m); err != nil {
			c.tb.Fatalf("%s: says %q: %v", c.name, c.lines.Bytes(), err)
		}
		switch m.Kind {
		case kind:
			return m
		case "failed":
			c.tb.Fatalf("%s: %s", c.name, m.Error)
		}
	}
	c.tb.Fatalf("%s: ended while it was to say %q", c.name, kind)
	return message{}
}

// stop ends the contender and waits for it.
func (c *child) stop() {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.in.Close() // its sign to end
	if err := c.cmd.Wait(); err != nil {
		c.tb.Errorf("%s: %v", c.name, err)
	}
}
