package servers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	if os.Getenv("ROWFALL_TEST_PARENT") != "" {
		parent()
	}
	goleak.VerifyTestMain(m)
}

// parent is what TestChildrenDieWithUs kills: a process that has servers and does not get to stop them.
func parent() {
	in, err := servers.Install(context.Background(), os.Stderr, servers.Redis, servers.MySQL)
	if err != nil {
		panic(err)
	}
	dir := os.Getenv("ROWFALL_TEST_PARENT")
	c, err := in.StartCache(context.Background(), servers.Redis, servers.CacheOptions{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		panic(err)
	}
	d, err := in.StartDatabase(context.Background(), servers.MySQL, servers.DatabaseOptions{Dir: filepath.Join(dir, "mysql")})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Pid(), d.Pid())
	select {}
}

func TestChildrenDieWithUs(t *testing.T) {
	if runtime.GOOS != "linux" {
		servertest.Absent(t, errors.New("only Linux has a parent's death signal"))
	}
	servertest.Need(t, servers.Redis, servers.MySQL)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ROWFALL_TEST_PARENT="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var redis, mysql int
	_, scanErr := fmt.Fscan(out, &redis, &mysql)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed, and says so
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	for _, pid := range []int{redis, mysql} {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

// alive says whether a process runs; one that ended and waits for its new parent to notice does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestInstallTwiceAtOnce(t *testing.T) {
	servertest.Need(t, servers.Kinds()...) // skips where there is nothing to install
	var progress lockedBuilder
	versions := make([]string, 2)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for n := range versions {
		wg.Go(func() {
			var in *servers.Installation
			if in, errs[n] = servers.Install(t.Context(), &progress, servers.Kinds()...); errs[n] != nil {
				return
			}
			for _, k := range servers.Kinds() {
				versions[n] += in.Version(k) + "\n"
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if versions[0] != versions[1] {
		t.Errorf("versions differ:\n%s\n%s", versions[0], versions[1])
	}
	if progress.String() != "" {
		t.Errorf("a second call did work: %s", progress.String())
	}
}

// TestInitialiseAtOnce has two installations fill one empty cache. Only the data directories are built; the packages are
// those of the real cache.
func TestInitialiseAtOnce(t *testing.T) {
	real := servertest.Need(t, servers.MariaDB)
	cache := t.TempDir()
	if packages := filepath.Join(os.Getenv("ROWFALL_CACHE"), "packages"); os.Getenv("ROWFALL_CACHE") != "" {
		link(t, packages, filepath.Join(cache, "packages"))
	} else if dir, err := os.UserCacheDir(); err == nil {
		link(t, filepath.Join(dir, "rowfall/servers/packages"), filepath.Join(cache, "packages"))
	}
	t.Setenv("ROWFALL_CACHE", cache)
	var progress lockedBuilder
	installations := make([]*servers.Installation, 3)
	var wg sync.WaitGroup
	for n := range installations {
		wg.Go(func() {
			in, err := servers.Install(t.Context(), &progress, servers.MariaDB)
			if err != nil {
				t.Error(err)
			}
			installations[n] = in
		})
	}
	wg.Wait()
	if n := strings.Count(progress.String(), "initialising"); n != 1 {
		t.Errorf("initialised %d times:\n%s", n, progress.String())
	}
	for _, in := range installations {
		if in != nil && in.Version(servers.MariaDB) != real.Version(servers.MariaDB) {
			t.Errorf("version is %q", in.Version(servers.MariaDB))
		}
	}
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Stat(from); err != nil {
		return // the server is one of the system
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

// lockedBuilder collects progress lines of concurrent calls.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDatabase(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			in := servertest.Need(t, kind)
			d := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true, Args: []string{"--max-connections=77"}})
			query(t, in, d, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)")
			want := "1\tROW\t77\tON"
			ask := "SELECT @@log_bin, @@binlog_format, @@max_connections, @@gtid_mode"
			if kind == servers.MariaDB {
				ask, want = strings.Replace(ask, "@@gtid_mode", "'-'", 1), strings.Replace(want, "ON", "-", 1)
			}
			if got := query(t, in, d, ask); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got, want := query(t, in, d, "SELECT @@port, @@server_id"), fmt.Sprintf("%d\t%[1]d", d.Port()); got != want {
				t.Errorf("port and server id are %q, want %q", got, want)
			}

			addr, pid := d.Addr(), d.Pid()
			if err := d.Kill(); err != nil {
				t.Fatal(err)
			}
			if d.Pid() != 0 || syscall.Kill(pid, 0) == nil {
				t.Errorf("process %d lives on after Kill", pid)
			}
			if conn, err := net.Dial("tcp", addr); err == nil {
				t.Error("something listens after Kill", conn.Close())
			}
			restart(t, d)
			query(t, in, d, "INSERT INTO shop.t VALUES (2)")
			if err := d.Shutdown(); err != nil {
				t.Fatal(err)
			}
			restart(t, d)
			if got := query(t, in, d, "SELECT COUNT(*) FROM shop.t"); got != "2" || d.Addr() != addr {
				t.Errorf("after restarts: %s rows at %s, want 2 at %s", got, d.Addr(), addr)
			}
			if err := d.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(d.Log()); err == nil {
				t.Error("the temporary folder outlived Stop")
			}
			if err := d.Restart(t.Context()); err == nil {
				t.Error("restarted without a folder")
			}
		})
	}
}

// TestDatabaseDefaults shows two servers that differ where copies of one data directory must, in folders that stay.
func TestDatabaseDefaults(t *testing.T) {
	in := servertest.Need(t, servers.MySQL)
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 15))
	a := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{Dir: dir})
	b := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{Args: []string{"--skip-name-resolve"}})
	ask := "SELECT @@server_uuid"
	uuid := query(t, in, a, ask)
	if uuid == query(t, in, b, ask) {
		t.Error("two servers share a server_uuid")
	}
	if got := query(t, in, a, "SELECT @@gtid_mode, @@binlog_row_metadata"); got != "OFF\tMINIMAL" {
		t.Errorf("defaults are %q", got)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	again := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{Dir: dir})
	if got := query(t, in, again, ask); got != uuid {
		t.Errorf("the server in a kept folder has server_uuid %s, want %s", got, uuid)
	}
}

func TestCaches(t *testing.T) {
	for _, kind := range []servers.Kind{servers.Redis, servers.RedisStable, servers.Valkey} {
		t.Run(string(kind), func(t *testing.T) {
			master := servertest.Cache(t, kind, servers.CacheOptions{Dir: t.TempDir(), Args: []string{"--save", "3600 1"}})
			if got := command(t, master, "SET a 1"); got != "+OK" {
				t.Fatalf("SET answers %q", got)
			}
			replica := servertest.Cache(t, kind, servers.CacheOptions{ReplicaOf: master.Addr()})
			eventually(t, "the replica has the key", func() bool { return command(t, replica, "GET a") == "$1 1" })

			addr := replica.Addr()
			if err := replica.Kill(); err != nil {
				t.Fatal(err)
			}
			restart(t, replica)
			if replica.Addr() != addr {
				t.Errorf("restarted at %s, want %s", replica.Addr(), addr)
			}
			eventually(t, "the replica has the key again", func() bool { return command(t, replica, "GET a") == "$1 1" })

			if err := master.Shutdown(); err != nil {
				t.Fatal(err)
			}
			restart(t, master)
			if got := command(t, master, "GET a"); got != "$1 1" {
				t.Errorf("after a clean restart GET answers %q", got)
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	in := servertest.Need(t, servers.Redis)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()                               // the test is over
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // it is tried again until then
	defer cancel()
	_, err = in.StartCache(ctx, servers.Redis, servers.CacheOptions{Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "port is taken") {
		t.Errorf("error is %v, want that the port is taken", err)
	}
}

func TestBadOption(t *testing.T) {
	in := servertest.Need(t, servers.Redis, servers.MariaDB)
	if _, err := in.StartCache(t.Context(), servers.Redis, servers.CacheOptions{Args: []string{"--no-such", "1"}}); err == nil ||
		!strings.Contains(err.Error(), "no-such") {
		t.Errorf("error is %v, want the server's own words", err)
	}
	if _, err := in.StartDatabase(t.Context(), servers.Redis, servers.DatabaseOptions{}); err == nil {
		t.Error("a redis was started as a database")
	}
	if _, err := in.StartCache(t.Context(), servers.Valkey, servers.CacheOptions{}); err == nil {
		t.Error("a kind that was not installed was started")
	}
}

func TestBinaryNamedByVariable(t *testing.T) {
	t.Setenv("ROWFALL_VALKEY_SERVER", "/no/such/binary")
	_, err := servers.Install(t.Context(), nil, servers.Valkey)
	if err == nil || !strings.Contains(err.Error(), "use ROWFALL_VALKEY_SERVER=/no/such/binary") {
		t.Errorf("error is %v", err)
	}
}

func TestBinaryOnPath(t *testing.T) {
	in := servertest.Need(t, servers.Redis)
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'Redis server v=7.2.4 sha=00000000:0 malloc=libc bits=64'\n"
	path := filepath.Join(dir, "redis-server")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	both, err := servers.Install(t.Context(), nil, servers.Redis, servers.RedisStable)
	if err != nil {
		t.Fatal(err)
	}
	if both.Path(servers.RedisStable) != path || both.Version(servers.RedisStable) != "redis-server 7.2.4" {
		t.Errorf("redis-stable is %s at %s", both.Version(servers.RedisStable), both.Path(servers.RedisStable))
	}
	if both.Version(servers.Redis) != in.Version(servers.Redis) {
		t.Errorf("redis is %s, though the one on PATH is older", both.Version(servers.Redis))
	}
}

func TestNothingToFetchWith(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("ROWFALL_CACHE", t.TempDir())
	for _, r := range []string{"MYSQLD", "REDIS_SERVER"} {
		t.Setenv("ROWFALL_"+r, "")
	}
	_, err := servers.Install(t.Context(), nil, servers.MySQL, servers.Redis)
	if !errors.Is(err, servers.ErrUnavailable) || strings.Count(err.Error(), "\n") > 0 ||
		!strings.HasPrefix(err.Error(), "install mysql, redis: ") {
		t.Errorf("error is %v, want one sentence", err)
	}
}

// restart restarts a server, or ends the test.
func restart(t *testing.T, s interface{ Restart(context.Context) error }) {
	t.Helper()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// query runs SQL over TCP as root without a password and returns the rows, columns parted by tabs.
func query(t *testing.T, in *servers.Installation, d *servers.Database, sql string) string {
	t.Helper()
	name := "mysql"
	if d.Kind() == servers.MariaDB {
		name = "mariadb"
	}
	cmd, err := in.Command(t.Context(), d.Kind(), name, "--no-defaults", "--host=127.0.0.1",
		"--port="+strconv.Itoa(d.Port()), "--user=root", "--skip-column-names", "--batch", "--execute="+sql)
	if err != nil {
		servertest.Absent(t, err) // a server of the system, without a client beside it
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("query %s: %v: %s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// command sends one inline command and returns the answer's lines, joined by spaces.
func command(t *testing.T, c *servers.Cache, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the answer is in hand
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s\r\nQUIT\r\n", line); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(conn); scan.Scan() && (len(lines) == 0 || scan.Text() != "+OK"); {
		lines = append(lines, scan.Text())
	}
	return strings.Join(lines, " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 20 seconds: %s", what)
		}
	}
}
