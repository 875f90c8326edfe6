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

// TestDemo runs the demo itself, with a server of its own and with a user's. However
// it ends, by itself, by Ctrl-C or by SIGKILL, none of its processes may be left.
func TestDemo(t *testing.T) {
	if runtime.GOOS != "linux" {
		servertest.SkipOrFail(t, errors.New("processes are found in /proc, and only Linux has a parent's death signal"))
	}
	servertest.Need(t, servers.MySQL, servers.MariaDB, servers.Redis, servers.Valkey)
	s := &source{t: t, db: servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true})}
	dsn := fmt.Sprintf("root:@tcp(%s)/", s.db.Addr())

	t.Run("compares", func(t *testing.T) {
		d := startDemo(t, "--server", "mariadb", "--rows", "20", "--for", "1s")
		if code := d.wait(); code != exitDone || !strings.Contains(d.output(), "rows on 3 replicas") {
			t.Errorf("exit status %d, output:\n%s", code, d.output())
		}
		d.wantGone()
	})
	// The demo replaced a database shop, whoever had made it.
	t.Run("leaves a user's shop alone", func(t *testing.T) {
		s.t = t
		s.exec("CREATE DATABASE shop", "CREATE TABLE shop.takings (id INT PRIMARY KEY)", "INSERT INTO shop.takings VALUES (1)")
		d := startDemo(t, "--mysql", dsn)
		if code := d.wait(); code != exitFailed || !strings.Contains(d.output(), "a database shop that no demo made") {
			t.Errorf("exit status %d, output:\n%s", code, d.output())
		}
		d.wantGone()
		s.exec("SELECT id FROM shop.takings", "DROP DATABASE shop")
	})
	t.Run("killed", func(t *testing.T) {
		d := startDemo(t, "--mysql", dsn, "--rows", "20")
		d.wantChildren()
		d.signal(syscall.SIGKILL)
		_ = d.cmd.Wait() // it was killed, and says so
		d.wantGone()
		d.removeLeft()
	})
	// The killed demo's shop is still there, and may be replaced.
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		args   []string
		code   int
		says   string
	}{
		{"Ctrl-C", syscall.SIGINT, nil, exitDone, "nothing is left running"},
		{"closed terminal before the comparison", syscall.SIGHUP, []string{"--for", "1h"}, exitFailed, "stopped before the rows were compared"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			d := startDemo(t, append([]string{"--mysql", dsn, "--rows", "20"}, test.args...)...)
			d.wantChildren()
			d.signal(test.signal)
			if code := d.wait(); code != test.code || !strings.Contains(d.output(), test.says) {
				t.Errorf("exit status %d, output:\n%s", code, d.output())
			}
			d.wantGone()
			s.exec("CREATE DATABASE shop", "DROP DATABASE shop")
		})
	}
}

// demoProcess is a demo as a process of its own. It and all that it starts work in
// folders below dir, by which they are found.
type demoProcess struct {
	t       *testing.T
	cmd     *exec.Cmd
	dir     string // its temporary files
	printed string // where its output goes
}

func startDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under nohup a child would ignore the signal, too; one that is caught here is a child's own again.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUps) })
	dir := t.TempDir()
	d := &demoProcess{t: t, dir: dir, printed: filepath.Join(t.TempDir(), "output")}
	out, err := os.Create(d.printed)
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
	text, err := os.ReadFile(d.printed)
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

// wait returns the exit status.
func (d *demoProcess) wait() int {
	_ = d.cmd.Wait() // the status says it
	return d.cmd.ProcessState.ExitCode()
}

// processes lists the processes that work in a folder whose name begins so.
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
			continue // ended meanwhile, or not ours to see
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			d.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// wantChildren waits for the node, the Redis and the Valkey.
func (d *demoProcess) wantChildren() {
	d.t.Helper()
	waitFor(d.t, "the demo has started its children", func(context.Context) (bool, error) {
		if d.cmd.Process.Signal(syscall.Signal(0)) != nil {
			return false, fmt.Errorf("it ended: %s", d.output())
		}
		return len(d.processes(d.dir+"/")) >= 3, nil
	})
}

// wantGone waits until none of the processes runs: one that its parent's death
// kills does not wait for us.
func (d *demoProcess) wantGone() {
	d.t.Helper()
	waitFor(d.t, "all processes of the demo are gone", func(context.Context) (bool, error) {
		left := d.processes(d.dir)
		if len(left) > 0 {
			return false, fmt.Errorf("left: %v", left)
		}
		return true, nil
	})
}

// removeLeft removes what a killed demo leaves in its temporary folder.
func (d *demoProcess) removeLeft() {
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
		} else if strings.Contains(err.Error(), "pw") || !strings.Contains(err.Error(), "want user[:password]@host:port") {
			t.Errorf("%s: error is %q; it must say what is wanted, without the password", text, err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// A line that the terminal wraps stayed on the screen when the view was drawn again.
func TestCutLines(t *testing.T) {
	if got, want := cutLines("└─ Chloé Nguyễn\nab\n\n", 5), "└─ Ch\nab\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
