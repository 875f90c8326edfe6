// Package servertest gives tests real database servers: MySQL, MariaDB, Redis and Valkey as package servers finds or
// fetches them, stopped when the test ends, and their logs shown when it fails.
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

// installed remembers what was installed in this process; a kind that could not be had is not tried again.
var installed = struct {
	sync.Mutex
	kinds map[servers.Kind]result
}{kinds: make(map[servers.Kind]result)}

type result struct {
	in  *servers.Installation
	err error
}

// Need makes the kinds runnable, once per process, and logs the versions that the test runs against. If one cannot be
// had, the test fails when CI is true; elsewhere it is skipped, and the command that servers.SkippedEnv comes from counts
// and names it at its end.
func Need(tb testing.TB, kinds ...servers.Kind) *servers.Installation {
	tb.Helper()
	installed.Lock()
	defer installed.Unlock()
	var missing []servers.Kind
	for _, k := range kinds {
		if r, ok := installed.kinds[k]; !ok {
			missing = append(missing, k)
		} else if r.err != nil {
			Absent(tb, r.err)
		}
	}
	for _, k := range missing {
		in, err := servers.Install(context.Background(), os.Stderr, k)
		installed.kinds[k] = result{in, err}
		if err != nil {
			Absent(tb, err)
		}
	}
	all := make([]*servers.Installation, len(kinds))
	for n, k := range kinds {
		all[n] = installed.kinds[k].in
		tb.Logf("%s: %s", k, all[n].Version(k))
	}
	return servers.Join(all...)
}

// Absent ends a test for what this machine does not have, such as a server or its client, in the way that Need says.
func Absent(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "SKIPPED:", tb.Name())
	if err := note("SKIPPED: " + tb.Name() + "\n"); err != nil {
		tb.Fatal(err)
	}
	tb.Skip(err)
}

// note adds a line to the file of those who were skipped. Only they read its name from the environment, which is how
// go test knows that their packages' results depend on it, and runs them again next time.
func note(line string) error {
	path := os.Getenv(servers.SkippedEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("note a skipped test: %w", err)
	}
	_, err = f.WriteString(line) // in one piece: other packages write at the same time
	return errors.Join(err, f.Close())
}

// Database starts a MySQL or MariaDB that stops when the test ends.
func Database(tb testing.TB, kind servers.Kind, o servers.DatabaseOptions) *servers.Database {
	tb.Helper()
	d, err := Need(tb, kind).StartDatabase(tb.Context(), kind, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, d) })
	return d
}

// Cache starts a Redis or Valkey that stops when the test ends.
func Cache(tb testing.TB, kind servers.Kind, o servers.CacheOptions) *servers.Cache {
	tb.Helper()
	c, err := Need(tb, kind).StartCache(tb.Context(), kind, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, c) })
	return c
}

// server is what this package asks of a Database or a Cache.
type server interface {
	Kind() servers.Kind
	Addr() string
	Log() string
	Stop() error
}

// stop ends a server after its test, and if the test failed shows the end of the server's log.
func stop(tb testing.TB, s server) {
	tb.Helper()
	if tb.Failed() {
		tb.Logf("log of %s at %s:\n%s", s.Kind(), s.Addr(), lastLines(s.Log(), 40))
	}
	if err := s.Stop(); err != nil {
		tb.Error(err)
	}
}

// lastLines returns the last n lines of a file.
func lastLines(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // only read
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
