package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rowfall/pipelines"
)

func newJobs() *cobra.Command {
	return &cobra.Command{
		Use:   "jobs FILE [list | cancel ID | confirm ID]",
		Short: "List, cancel or confirm the jobs of a pipeline",
		Long: "List the jobs that read tables, or some of their rows: initial loads, " +
			"reconciliations, backfills and replays.\n" +
			"A job that would remove more than half of a table's keys waits for confirm ID.\n" +
			"If the pipeline does not run, the jobs are those in its directory, which the next " +
			"`rowfall run` continues.",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := needsFile(cmd, args); err != nil {
				return err
			}
			switch rest := args[1:]; {
			case len(rest) == 0, len(rest) == 1 && rest[0] == "list":
				return nil
			case len(rest) == 2 && (rest[0] == "cancel" || rest[0] == "confirm"):
				if _, err := strconv.Atoi(rest[1]); err == nil {
					return nil
				}
			}
			return usageError{fmt.Errorf("jobs %s: want FILE, then list, cancel ID or confirm ID",
				strings.Join(args, " "))}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				if err := changeJob(cmd.Context(), args[0], args[1], args[2]); err != nil {
					return err
				}
				return printTo(cmd.OutOrStdout(), "job %s: %s done\n", args[2], args[1])
			}
			return listJobs(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
}

// changeJob cancels or confirms a job.
func changeJob(ctx context.Context, path, action, id string) error {
	_, err := askRunning(ctx, path, "ROWFALL", strings.ToUpper(action), id)
	if !errors.Is(err, errNotRunning) {
		return err
	}
	n, err := strconv.Atoi(id)
	if err != nil {
		return usageError{err}
	}
	return inDirectory(ctx, path, func(ctx context.Context, s *pipelines.Stopped) error {
		if action == "confirm" {
			return s.ConfirmJob(ctx, n)
		}
		return s.CancelJob(ctx, n)
	})
}

// listJobs prints a line for each job that is not done.
func listJobs(ctx context.Context, out io.Writer, path string) error {
	list, err := runningJobs(ctx, path)
	if errors.Is(err, errNotRunning) {
		err = inDirectory(ctx, path, func(ctx context.Context, s *pipelines.Stopped) (err error) {
			list, err = s.Jobs(ctx)
			return err
		})
	}
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return printTo(out, "no jobs\n")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	err = printTo(w, "ID\tTABLE\tSTATE\tROWS\tOF ABOUT\tSTALE\tOF\tREASON\n")
	for i := range list {
		j := &list[i]
		err = errors.Join(err, printTo(w, "%d\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", j.ID, j.Table,
			j.State, j.Rows, j.Estimate, j.Stale, j.Checked, j.Reason))
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("print jobs: %w", err)
	}
	return nil
}

// printTo prints to a command's output.
func printTo(out io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(out, format, args...); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// oneFile is the Args function of commands that take exactly one FILE.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one FILE, and %d are given",
			cmd.CommandPath(), len(args))}
	}
	return needsFile(cmd, args)
}
