// Command rowfall streams MySQL's binlog into Redis and Valkey replicas.
//
// There is one file per subcommand; main is the only place that exits.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	collectLess()
	os.Exit(runUntilSignal(os.Args[1:]))
}

// runUntilSignal runs a command until it ends or a signal asks for a clean end. A
// second Ctrl-C ends the process at once.
func runUntilSignal(args []string) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// Only Ctrl-C: a terminal that is closed may send SIGHUP twice.
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })
	return run(ctx, args)
}

// collectLess lets the heap grow further than Go would before it is collected,
// unless GOGC says how far. Rows and the log's window lie outside of it, so it is
// a few MiB, and the default would be a collection every few milliseconds.
// GOMEMLIMIT is heeded as ever.
func collectLess() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(200)
	}
}

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is wrong usage, or a file that does not validate.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "rowfall:", err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	var logging logFlags
	root := &cobra.Command{
		Use:           "rowfall",
		Short:         "Rows fall from MySQL into Redis replicas",
		Long:          "Rowfall streams MySQL's binlog through a mapping in YAML into a master node that speaks the Redis replication protocol.\nReal Redis and Valkey servers follow it and serve the reads.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("no such command: %s (see rowfall -h)", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s -h)", err, cmd.CommandPath())}
	})
	root.PersistentFlags().StringVar(&logging.format, "log-format", "", "console or json (default: what the pipeline file says, else console)")
	root.PersistentFlags().StringVar(&logging.level, "log-level", "", "trace, debug, info, warn or error (default: what the pipeline file says, else info)")
	root.AddCommand(newDemo(&logging), newRun(&logging), newNode(&logging), newVersion())
	return root
}

// exactly and atLeast are argument counts whose failure is wrong usage.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w (see %s -h)", err, cmd.CommandPath())}
		}
		return nil
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w (see %s -h)", err, cmd.CommandPath())}
		}
		return nil
	}
}
