// Command rowfall streams MySQL's binlog into Redis and Valkey replicas.
//
// Each subcommand has its own file, so that the command has more than 12 files. Only main exits the
// process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	relaxGC()
	os.Exit(runUntilSignal(os.Args[1:]))
}

// runUntilSignal runs a command, with a context that ends at SIGINT, SIGTERM or SIGHUP, and
// returns the exit status. A second SIGINT, as by Ctrl-C, ends the process at once.
func runUntilSignal(args []string) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// Only SIGINT gets its default action back: a terminal that is closed may send SIGHUP twice.
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })
	return run(ctx, args)
}

// relaxGC raises the heap growth at which Go collects garbage to 200 percent, unless GOGC is set.
// Rows, the key table and the log's window lie outside of the heap, which is only a few MiB. With
// Go's default the collector would run every few milliseconds. GOMEMLIMIT works as usual.
func relaxGC() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(200)
	}
}

// The exit statuses of the process.
const (
	exitDone   = 0
	exitFailed = 1 // the command failed while it ran
	exitUsage  = 2 // wrong usage, or a file that does not validate
)

// usageError is an error of the usage, or of a file that does not validate. The exit status is
// exitUsage.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// run runs the subcommand in args, prints its error, and returns the exit status.
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

// newRoot returns the root command with all subcommands.
func newRoot() *cobra.Command {
	var logging logFlags
	root := &cobra.Command{
		Use:   "rowfall",
		Short: "Rows fall from MySQL into Redis replicas",
		Long: "Rowfall streams MySQL's binlog through a mapping in YAML into a master node that " +
			"speaks the Redis replication protocol.\n" +
			"Real Redis and Valkey servers follow it and serve the reads.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see rowfall -h", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s -h", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&logging.format, "log-format", "",
		"console or json (default: the pipeline file's setting, else console)")
	flags.StringVar(&logging.level, "log-level", "",
		"trace, debug, info, warn or error (default: the pipeline file's setting, else info)")
	root.AddCommand(newDemo(&logging), newRun(&logging), newBackfill(&logging),
		newReplay(&logging), newJobs(),
		newSkip(&logging), newDeadLetters(), newStatus(), newNode(&logging), newVersion())
	return root
}

// noArguments rejects arguments of a command that has only flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s has no argument %q; usage: %s",
		cmd.CommandPath(), args[0], cmd.UseLine())}
}

// needsFile rejects a command without a FILE, and shows the usage of the command.
func needsFile(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s needs a FILE, and none is given\n%s",
		cmd.CommandPath(), strings.TrimRight(cmd.UsageString(), "\n"))}
}
