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
		runParent()
	}
	goleak.VerifyTestMain(m)
}

// runParent is the process that TestChildrenDieWithParent kills. It has started servers and cannot
// stop them.
func runParent() {
	in, err := servers.Install(context.Background(), os.Stderr, servers.Redis, servers.MySQL)
	if err != nil {
		panic(err)
	}
	dir := os.Getenv("ROWFALL_TEST_PARENT")
	c, err := in.StartCache(
		context.Background(), servers.Redis, servers.CacheOptions{Dir: filepath.Join(dir, "redis")},
	)
	if err != nil {
		panic(err)
	}
	d, err := in.StartDatabase(
		context.Background(),
		servers.MySQL,
		servers.DatabaseOptions{Dir: filepath.Join(dir, "mysql")},
	)
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Pid(), d.Pid())
	select {}
}

// TestChildrenDieWithParent kills a process and expects that its servers end, too.
func TestChildrenDieWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		servertest.SkipOrFail(t, errors.New("only Linux sends a signal when the parent dies"))
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
	_ = cmd.Wait() // it returns that the process was killed
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	for _, pid := range []int{redis, mysql} {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

// alive reports whether a process is running. A zombie, which has ended but was not waited for, is
// not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestInstallTwiceAtOnce(t *testing.T) {
	servertest.Need(t, servers.Kinds()...) // skips the test where the servers are not available
	var progress lockedBuilder
	versions := make([]string, 2)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for n := range versions {
		wg.Go(func() {
			var in *servers.Installation
			if in, errs[n] = servers.Install(t.Context(), &progress,
				servers.Kinds()...); errs[n] != nil {
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
		t.Errorf("a second call prints progress: %s", progress.String())
	}
}

// TestInitialiseAtOnce has several installations initialise the same data directory, of which only
// one may do the work. The packages come from the real cache.
func TestInitialiseAtOnce(t *testing.T) {
	real := servertest.Need(t, servers.MariaDB)
	cache := t.TempDir()
	if dir := os.Getenv("ROWFALL_CACHE"); dir != "" {
		symlink(t, filepath.Join(dir, "packages"), filepath.Join(cache, "packages"))
	} else if dir, err := os.UserCacheDir(); err == nil {
		symlink(t, filepath.Join(dir, "rowfall/servers/packages"), filepath.Join(cache, "packages"))
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

// symlink makes `to`, in the test's cache, a link to the folder `from` of the real cache.
func symlink(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Stat(from); err != nil {
		return // the server was not fetched but is one of the system
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

// lockedBuilder collects the progress lines of concurrent calls.
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
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB, servers.MariaDB118} {
		t.Run(string(kind), func(t *testing.T) {
			in := servertest.Need(t, kind)
			d := servertest.Database(
				t,
				kind,
				servers.DatabaseOptions{GTID: true, Args: []string{"--max-connections=77"}},
			)
			query(
				t,
				in,
				d,
				"CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); "+
					"INSERT INTO shop.t VALUES (1)",
			)
			want := "1\tROW\t77\tON"
			sql := "SELECT @@log_bin, @@binlog_format, @@max_connections, @@gtid_mode"
			if kind.IsMariaDB() {
				sql, want = strings.Replace(sql, "@@gtid_mode", "'-'", 1), strings.Replace(want,
					"ON", "-", 1)
			}
			if got := query(t, in, d, sql); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			want = fmt.Sprintf("%d\t%[1]d", d.Port())
			if got := query(t, in, d, "SELECT @@port, @@server_id"); got != want {
				t.Errorf("port and server id are %q, want %q", got, want)
			}

			addr, pid := d.Addr(), d.Pid()
			if err := d.Kill(); err != nil {
				t.Fatal(err)
			}
			if d.Pid() != 0 || syscall.Kill(pid, 0) == nil {
				t.Errorf("process %d is running after Kill", pid)
			}
			if conn, err := net.Dial("tcp", addr); err == nil {
				t.Error("the port accepts connections after Kill", conn.Close())
			}
			restart(t, d)
			query(t, in, d, "INSERT INTO shop.t VALUES (2)")
			if err := d.Shutdown(); err != nil {
				t.Fatal(err)
			}
			restart(t, d)
			if got := query(t, in, d, "SELECT COUNT(*) FROM shop.t"); got != "2" ||
				d.Addr() != addr {
				t.Errorf("after restarts: %s rows at %s, want 2 at %s", got, d.Addr(), addr)
			}
			if err := d.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(d.Log()); err == nil {
				t.Error("the temporary folder exists after Stop")
			}
			if err := d.Restart(t.Context()); err == nil {
				t.Error("Restart succeeds after Stop has removed the folder")
			}
		})
	}
}

// TestDatabaseDefaults starts two servers from copies of one data directory. They must have
// different server_uuids, and a server in a permanent folder must keep its own.
func TestDatabaseDefaults(t *testing.T) {
	in := servertest.Need(t, servers.MySQL)
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 15))
	a := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{Dir: dir})
	b := servertest.Database(
		t, servers.MySQL, servers.DatabaseOptions{Args: []string{"--skip-name-resolve"}},
	)
	uuidSQL := "SELECT @@server_uuid"
	uuid := query(t, in, a, uuidSQL)
	if uuid == query(t, in, b, uuidSQL) {
		t.Error("two servers share a server_uuid")
	}
	if got := query(t, in, a, "SELECT @@gtid_mode, @@binlog_row_metadata"); got != "OFF\tMINIMAL" {
		t.Errorf("defaults are %q", got)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	again := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{Dir: dir})
	if got := query(t, in, again, uuidSQL); got != uuid {
		t.Errorf("after a restart in its folder the server has server_uuid %s, want %s", got, uuid)
	}
}

func TestCaches(t *testing.T) {
	for _, kind := range []servers.Kind{servers.Redis, servers.RedisStable, servers.Valkey} {
		t.Run(string(kind), func(t *testing.T) {
			master := servertest.Cache(
				t, kind, servers.CacheOptions{Dir: t.TempDir(), Args: []string{"--save", "3600 1"}},
			)
			if got := inlineCommand(t, master, "SET a 1"); got != "+OK" {
				t.Fatalf("SET replies %q", got)
			}
			replica := servertest.Cache(t, kind, servers.CacheOptions{ReplicaOf: master.Addr()})
			eventually(
				t, "the replica has the key",
				func() bool { return inlineCommand(t, replica, "GET a") == "$1 1" },
			)

			addr := replica.Addr()
			if err := replica.Kill(); err != nil {
				t.Fatal(err)
			}
			restart(t, replica)
			if replica.Addr() != addr {
				t.Errorf("restarted at %s, want %s", replica.Addr(), addr)
			}
			eventually(
				t, "the replica has the key again",
				func() bool { return inlineCommand(t, replica, "GET a") == "$1 1" },
			)

			if err := master.Shutdown(); err != nil {
				t.Fatal(err)
			}
			restart(t, master)
			if got := inlineCommand(t, master, "GET a"); got != "$1 1" {
				t.Errorf("after a clean restart GET replies %q", got)
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
	defer func() { _ = l.Close() }()                               // the test has ended
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // StartCache retries until then
	defer cancel()
	_, err = in.StartCache(
		ctx, servers.Redis, servers.CacheOptions{Port: l.Addr().(*net.TCPAddr).Port},
	)
	if err == nil || !strings.Contains(err.Error(), "port is in use") {
		t.Errorf("error is %v, want that the port is in use", err)
	}
}

func TestBadOption(t *testing.T) {
	in := servertest.Need(t, servers.Redis, servers.MariaDB)
	_, err := in.StartCache(
		t.Context(), servers.Redis, servers.CacheOptions{Args: []string{"--no-such", "1"}},
	)
	if err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("error is %v, want the server's own message", err)
	}
	if _, err := in.StartDatabase(t.Context(), servers.Redis,
		servers.DatabaseOptions{}); err == nil {
		t.Error("StartDatabase accepts a redis")
	}
	if _, err := in.StartCache(t.Context(), servers.Valkey, servers.CacheOptions{}); err == nil {
		t.Error("StartCache accepts a kind that is not installed")
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
	if both.Path(servers.RedisStable) != path ||
		both.Version(servers.RedisStable) != "redis-server 7.2.4" {
		t.Errorf("redis-stable is %s at %s", both.Version(servers.RedisStable),
			both.Path(servers.RedisStable))
	}
	if both.Version(servers.Redis) != in.Version(servers.Redis) {
		t.Errorf("redis is %s, but that binary is too old for the kind",
			both.Version(servers.Redis))
	}
}

func TestNoFetchTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("ROWFALL_CACHE", t.TempDir())
	for _, r := range []string{"MYSQLD", "REDIS_SERVER"} {
		t.Setenv("ROWFALL_"+r, "")
	}
	_, err := servers.Install(t.Context(), nil, servers.MySQL, servers.Redis)
	if !errors.Is(err, servers.ErrUnavailable) || strings.Count(err.Error(), "\n") > 0 ||
		!strings.HasPrefix(err.Error(), "install mysql, redis: ") {
		t.Errorf("error is %v, want one line for both kinds", err)
	}
}

// restart restarts a server, or ends the test.
func restart(t *testing.T, s interface{ Restart(context.Context) error }) {
	t.Helper()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// query runs SQL over TCP as root and returns the rows; columns are separated by tabs.
func query(t *testing.T, in *servers.Installation, d *servers.Database, sql string) string {
	t.Helper()
	name := "mysql"
	if d.Kind().IsMariaDB() {
		name = "mariadb"
	}
	cmd, err := in.Command(t.Context(), d.Kind(), name, "--no-defaults", "--host=127.0.0.1",
		"--port="+strconv.Itoa(d.Port()), "--user=root", "--skip-column-names", "--batch",
		"--execute="+sql)
	if err != nil {
		servertest.SkipOrFail(t, err) // a server of the system may come without a client
	}
	var stderr strings.Builder // the client of MariaDB 11.8 prints a warning there
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("query %s: %v: %s", sql, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// inlineCommand sends one inline command and returns the lines of the reply, joined by spaces.
func inlineCommand(t *testing.T, c *servers.Cache, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the reply has been read
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

// eventually waits until ok returns true, or ends the test after 20 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited 20 seconds for: %s", what)
		}
	}
}
