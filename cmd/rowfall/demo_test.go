package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestDemo runs the demo with its own server and with a user's server. However the demo ends,
// whether by itself, by Ctrl-C or by SIGKILL, none of its processes may be left.
func TestDemo(t *testing.T) {
	if runtime.GOOS != "linux" {
		servertest.SkipOrFail(
			t, errors.New("only Linux has /proc and sends a signal when the parent dies"),
		)
	}
	servertest.Need(t, servers.MySQL, servers.MariaDB, servers.Redis, servers.Valkey)
	s := &source{
		t:  t,
		db: servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true}),
	}
	dsn := fmt.Sprintf("root:@tcp(%s)/", s.db.Addr())

	t.Run("compares", func(t *testing.T) {
		d := startDemo(t, "--server", "mariadb", "--rows", "20", "--for", "1s")
		if code := d.wait(); code != exitDone ||
			!strings.Contains(d.output(), "rows on 3 replicas") {
			t.Errorf("exit status %d, output:\n%s", code, d.output())
		}
		d.wantGone()
	})
	// The demo used to replace any database shop.
	t.Run("leaves a user's shop alone", func(t *testing.T) {
		s.t = t
		s.exec(
			"CREATE DATABASE shop", "CREATE TABLE shop.takings (id INT PRIMARY KEY)",
			"INSERT INTO shop.takings VALUES (1)",
		)
		d := startDemo(t, "--mysql", dsn)
		if code := d.wait(); code != exitFailed ||
			!strings.Contains(d.output(), "one that the demo did not create") {
			t.Errorf("exit status %d, output:\n%s", code, d.output())
		}
		d.wantGone()
		s.exec("SELECT id FROM shop.takings", "DROP DATABASE shop")
	})
	t.Run("killed", func(t *testing.T) {
		d := startDemo(t, "--mysql", dsn, "--rows", "20")
		d.wantChildren()
		d.signal(syscall.SIGKILL)
		_ = d.cmd.Wait() // it returns that the process was killed
		d.wantGone()
		d.removeTempDir()
	})
	// The shop of the killed demo still exists and may be replaced.
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		args   []string
		code   int
		output string
	}{
		{"Ctrl-C", syscall.SIGINT, nil, exitDone, "no process is left running"},
		{
			"closed terminal before the comparison", syscall.SIGHUP,
			[]string{"--for", "1h"},
			exitFailed,
			"stopped before the rows were compared",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			d := startDemo(t, append([]string{"--mysql", dsn, "--rows", "20"}, test.args...)...)
			d.wantChildren()
			d.signal(test.signal)
			if code := d.wait(); code != test.code || !strings.Contains(d.output(), test.output) {
				t.Errorf("exit status %d, output:\n%s", code, d.output())
			}
			d.wantGone()
			s.exec("CREATE DATABASE shop", "DROP DATABASE shop")
		})
	}
}

// demoProcess is a demo that runs as a process. The demo and all that it starts work in folders
// below dir, by which the test finds them.
type demoProcess struct {
	t          *testing.T
	cmd        *exec.Cmd
	dir        string // its folder for temporary files
	outputFile string // the file with its output
}

func startDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under nohup this process ignores SIGHUP, and a child would inherit that. Catching the signal
	// here gives a child the default action.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	dir := t.TempDir()
	d := &demoProcess{t: t, dir: dir, outputFile: filepath.Join(t.TempDir(), "output")}
	out, err := os.Create(d.outputFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	d.cmd = exec.Command(self, append([]string{"demo"}, args...)...)
	d.cmd.Dir = dir
	d.cmd.Env = append(os.Environ(), beRowfall+"=1", "TMPDIR="+dir)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
	})
	return d
}

func (d *demoProcess) output() string {
	text, err := os.ReadFile(d.outputFile)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func (d *demoProcess) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatalf("%v; output:\n%s", err, d.output())
	}
}

// wait waits for the process and returns its exit status.
func (d *demoProcess) wait() int {
	_ = d.cmd.Wait() // the exit status is checked instead
	return d.cmd.ProcessState.ExitCode()
}

// processes returns the processes whose working folder begins with prefix.
func (d *demoProcess) processes(prefix string) []int {
	d.t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		d.t.Fatal(err)
	}
	var pids []int
	for _, path := range found {
		folder, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(folder, prefix) {
			continue // the process has ended, or belongs to another user
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			d.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// wantChildren waits until the node, the Redis and the Valkey are running.
func (d *demoProcess) wantChildren() {
	d.t.Helper()
	waitFor(d.t, "the demo has started its children", func(context.Context) (bool, error) {
		if d.cmd.Process.Signal(syscall.Signal(0)) != nil {
			return false, fmt.Errorf("the demo ended: %s", d.output())
		}
		return len(d.processes(d.dir+"/")) >= 3, nil
	})
}

// wantGone waits until no process of the demo is running. A process that the kernel kills because
// its parent died may take a moment.
func (d *demoProcess) wantGone() {
	d.t.Helper()
	waitFor(d.t, "all processes of the demo have ended", func(context.Context) (bool, error) {
		left := d.processes(d.dir)
		if len(left) > 0 {
			return false, fmt.Errorf("processes left: %v", left)
		}
		return true, nil
	})
}

// removeTempDir removes the temporary folder that a killed demo leaves behind.
func (d *demoProcess) removeTempDir() {
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Error(err)
	}
}

func TestParseSource(t *testing.T) {
	for text, want := range map[string]string{
		"root@127.0.0.1:3306":             "root  127.0.0.1:3306",
		"a:b:c@d@db.example.com:33060":    "a b:c@d db.example.com:33060",
		"root:pw@tcp(db:3306)/":           "root pw db:3306",
		"root:pw@tcp(db:3306)":            "root pw db:3306",
		"root:pw@[::1]:3306":              "root pw [::1]:3306",
		"root:pw@db:3306/":                "root pw db:3306",
		"db:3306":                         "",
		"root:pw@db":                      "",
		"root:pw@db:mysql":                "",
		"@db:3306":                        "",
		"root:pw@unix(/run/mysqld.sock)/": "",
		"root:pw@tcp(db:3306)/shop":       "",
		"root:pw@tcp(db:3306":             "",
	} {
		c, err := parseSource(text)
		got := ""
		if err == nil {
			got = c.User + " " + c.Password + " " + c.Addresses[0]
		} else if strings.Contains(err.Error(), "pw") ||
			!strings.Contains(err.Error(), "want user[:password]@host:port") {
			t.Errorf("%s: error is %q; it must say what is wanted, without the password", text, err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
