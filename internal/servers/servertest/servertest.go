// Package servertest runs real MySQL, MariaDB, Redis and Valkey servers for tests. It finds or
// fetches them with package servers, stops them when the test ends, and shows the end of their logs
// when the test has failed.
package servertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"rowfall/internal/servers"
)

// installations holds the results of Install in this process. Install is not tried again for a
// kind that was not available.
var installations = struct {
	sync.Mutex
	kinds map[servers.Kind]result
}{kinds: make(map[servers.Kind]result)}

type result struct {
	in  *servers.Installation
	err error
}

// Need makes the kinds runnable, once per process, and logs the versions that the test runs with.
// If a kind is not available, the test is skipped or fails as in SkipOrFail.
func Need(tb testing.TB, kinds ...servers.Kind) *servers.Installation {
	tb.Helper()
	installations.Lock()
	defer installations.Unlock()
	var missing []servers.Kind
	for _, k := range kinds {
		if r, ok := installations.kinds[k]; !ok {
			missing = append(missing, k)
		} else if r.err != nil {
			SkipOrFail(tb, r.err)
		}
	}
	for _, k := range missing {
		in, err := servers.Install(context.Background(), os.Stderr, k)
		installations.kinds[k] = result{in, err}
		if err != nil {
			SkipOrFail(tb, err)
		}
	}
	all := make([]*servers.Installation, len(kinds))
	for n, k := range kinds {
		all[n] = installations.kinds[k].in
		tb.Logf("%s: %s", k, all[n].Version(k))
	}
	return servers.Merge(all...)
}

// SkipOrFail ends a test because this machine lacks something, such as a server or its client. If
// the environment variable CI is true, the test fails with err. Otherwise it is skipped, and
// recorded in the file that servers.SkippedEnv names, so that the command `with` can report it.
func SkipOrFail(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "SKIPPED:", tb.Name())
	if err := recordSkip("SKIPPED: " + tb.Name() + "\n"); err != nil {
		tb.Fatal(err)
	}
	tb.Skip(err)
}

// recordSkip appends a line to the file of skipped tests. Only skipped tests read the variable
// with the name of that file. So go test records that their results depend on it, and does not take
// them from its cache next time.
func recordSkip(line string) error {
	path := os.Getenv(servers.SkippedEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("record skipped test: %w", err)
	}
	_, err = f.WriteString(line) // in one write, because other packages write at the same time
	return errors.Join(err, f.Close())
}

// Database starts a MySQL or MariaDB and stops it when the test ends.
func Database(tb testing.TB, kind servers.Kind, o servers.DatabaseOptions) *servers.Database {
	tb.Helper()
	d, err := Need(tb, kind).StartDatabase(tb.Context(), kind, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, d) })
	return d
}

// Cache starts a Redis or Valkey and stops it when the test ends.
func Cache(tb testing.TB, kind servers.Kind, o servers.CacheOptions) *servers.Cache {
	tb.Helper()
	c, err := Need(tb, kind).StartCache(tb.Context(), kind, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, c) })
	return c
}

// server is what stop needs of a Database or a Cache.
type server interface {
	Kind() servers.Kind
	Addr() string
	Log() string
	Stop() error
}

// stop ends a server after its test. If the test failed, it logs the last lines of the server's
// log.
func stop(tb testing.TB, s server) {
	tb.Helper()
	if tb.Failed() {
		tb.Logf("log of %s at %s:\n%s", s.Kind(), s.Addr(), lastLines(s.Log(), 40))
	}
	if err := s.Stop(); err != nil {
		tb.Error(err)
	}
}

// lastLines returns the last n lines of a file, or the error of opening it.
func lastLines(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // it was only read
	var lines []string
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		lines = append(lines, scan.Text())
		if len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
