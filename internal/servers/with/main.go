// Command with fetches the servers, runs a command, and then prints how many tests were skipped
// because a server was not available: `make test` runs `with go test`. If the environment variable
// CI is true, a server that is not available is an error and the command is not run.
//
// go test hides the output of packages that pass. So skipped tests write their names to a file,
// whose path is in the environment; see package servertest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"rowfall/internal/servers"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: with COMMAND [ARGUMENT]...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stderr, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run installs the servers and runs the command argv. It prints its own messages to w.
func run(ctx context.Context, w io.Writer, argv []string) error {
	_, missing := servers.Install(ctx, w, servers.Kinds()...)
	if missing != nil && os.Getenv("CI") == "true" {
		return missing
	}
	if missing != nil {
		// The output is a message on the terminal: an error of writing it is ignored.
		_, _ = fmt.Fprintf(w, "WARNING: tests will be skipped:\n%v\n", missing)
	}
	// The file has a new name each time. Therefore go test does not use the cached result of a
	// package with a skipped test.
	skips, err := os.CreateTemp("", "rowfall-skipped-")
	if err != nil {
		return fmt.Errorf("create file for skipped tests: %w", err)
	}
	defer func() { _, _ = skips.Close(), os.Remove(skips.Name()) }() // the file has been read
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), servers.SkippedEnv+"="+skips.Name())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// On an interrupt, go test prints its results so far.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	runErr := cmd.Run()
	text, err := io.ReadAll(skips)
	if count := strings.Count(string(text), "\n"); count > 0 {
		_, _ = fmt.Fprintf(w, "%s%d TESTS WERE SKIPPED, because a server was not available: %v\n",
			text, count, missing)
	}
	return errors.Join(runErr, err)
}
