// Command with fetches the servers, runs a command and at its end says how many tests were skipped because a server could
// not be had: `make test` is `with go test`. Where CI is true such a server is a failure, and the command is not run.
//
// go test shows nothing of what a package that passes writes, so its tests leave their lines in a file, whose name is in
// the environment; see servertest.
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

// run is the command; w gets what it says itself.
func run(ctx context.Context, w io.Writer, argv []string) error {
	_, missing := servers.Install(ctx, w, servers.Kinds()...)
	if missing != nil && os.Getenv("CI") == "true" {
		return missing
	}
	if missing != nil {
		_, _ = fmt.Fprintf(w, "WARNING: tests will be skipped:\n%v\n", missing) // it goes to a terminal
	}
	// The name is another one each time: so go test does not answer with a result that it kept for a test that was skipped.
	skips, err := os.CreateTemp("", "rowfall-skipped-")
	if err != nil {
		return fmt.Errorf("make file for skipped tests: %w", err)
	}
	defer func() { _, _ = skips.Close(), os.Remove(skips.Name()) }() // it was read
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), servers.SkippedEnv+"="+skips.Name())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it shows what it has
	fault := cmd.Run()
	text, err := io.ReadAll(skips)
	if count := strings.Count(string(text), "\n"); count > 0 {
		_, _ = fmt.Fprintf(w, "%s%d TESTS WERE SKIPPED, because a server could not be had: %v\n", text, count, missing)
	}
	return errors.Join(fault, err)
}
