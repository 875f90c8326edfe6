package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// beRowfall is the environment variable that makes the test binary run as rowfall, so that tests
// can start rowfall as a process and kill it.
const beRowfall = "ROWFALL_TEST_BE_ROWFALL"

func TestMain(m *testing.M) {
	if os.Getenv(beRowfall) != "" {
		os.Exit(runUntilSignal(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"version", []string{"version"}, exitDone},
		{"unknown command", []string{"fall"}, exitUsage},
		{"unknown flag", []string{"run", "--form", "now", "x.yaml"}, exitUsage},
		{"no file given", []string{"run"}, exitUsage},
		{"argument of a command without any", []string{"version", "now"}, exitUsage},
		{"file does not exist", []string{"run", "does-not-exist.yaml"}, exitUsage},
		{
			"rewind to an invalid position",
			[]string{"run", "--from", "yesterday", "--yes", "x.yaml"},
			exitUsage,
		},
		{"rewind without --yes", []string{"run", "--from", "snapshot", "x.yaml"}, exitUsage},
		{"skip without a position", []string{"skip", "x.yaml"}, exitUsage},
		{
			"skip of several transactions",
			[]string{"skip", "x.yaml", "--at", "gtid:0-1-7,1-1-1"},
			exitUsage,
		},
		{
			"skip of a table without a name", // not of the whole transaction
			[]string{"skip", "x.yaml", "--at", "gtid:0-1-7", "--table", "a.b", "--table", ""},
			exitUsage,
		},
		{"status of two files", []string{"status", "x.yaml", "y.yaml"}, exitUsage},
		{
			"a schema for two files",
			[]string{"run", "--schema", "s.sql", "x.yaml", "y.yaml"},
			exitUsage,
		},
		{"no schema file", []string{"run", "--schema", "does-not-exist", "x.yaml"}, exitUsage},
		{"demo without rows", []string{"demo", "--rows", "0"}, exitUsage}, // used to panic
		{
			"demo with a server without a port",
			[]string{"demo", "--mysql", "root:secret@localhost"},
			exitUsage,
		},
		{
			"demo with --server and --mysql",
			[]string{"demo", "--mysql", "root@127.0.0.1:1", "--server", "mariadb"},
			exitUsage,
		},
		{"node without a directory", []string{"node", "--listen", "127.0.0.1:0"}, exitUsage},
		{
			"upstream without a port", []string{
				"node", "--listen", "127.0.0.1:0", "--dir", t.TempDir(), "--replicaof", "localhost",
			}, exitUsage,
		},
		{
			"unknown log level", []string{
				"node", "--listen", "127.0.0.1:0", "--dir", t.TempDir(), "--log-level", "loud",
			}, exitUsage,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := run(t.Context(), test.args); got != test.want {
				t.Errorf("exit status %d, want %d", got, test.want)
			}
		})
	}
}

// Without its FILE, a command shows its own usage.
func TestUsageOfMissingFile(t *testing.T) {
	root := newRoot()
	root.SetArgs([]string{"run"})
	err := root.ExecuteContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "needs a FILE") ||
		!strings.Contains(err.Error(), "rowfall run FILE... [flags]") ||
		!strings.Contains(err.Error(), "--from") {
		t.Errorf("got %v", err)
	}
}
