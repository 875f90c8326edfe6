package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newJobs() *cobra.Command {
	return &cobra.Command{
		Use:   "jobs FILE [list | cancel ID | confirm ID]",
		Short: "List, cancel or confirm the jobs of the running pipeline",
		Long: "List the jobs that read tables, or some of their rows: initial loads, " +
			"reconciliations, backfills and replays.\n" +
			"A job that would remove more than half of a table's keys waits for confirm ID.",
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
				action := strings.ToUpper(args[1])
				_, err := askRunning(cmd.Context(), args[0], "ROWFALL", action, args[2])
				if err != nil {
					return err
				}
				return printTo(cmd.OutOrStdout(), "job %s: %s done\n", args[2], args[1])
			}
			return listJobs(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
}

// listJobs prints a line for each job that is not done.
func listJobs(ctx context.Context, out io.Writer, path string) error {
	reply, err := askRunning(ctx, path, "ROWFALL", "JOBS")
	if err != nil {
		return err
	}
	list, _ := reply.([]any)
	if len(list) == 0 {
		return printTo(out, "no jobs\n")
	}
	lines := []string{"ID\tTABLE\tSTATE\tROWS\tOF ABOUT\tSTALE\tOF\tREASON"}
	for _, item := range list {
		fields, _ := item.([]any)
		words := make([]string, len(fields))
		for i, f := range fields {
			words[i] = fmt.Sprint(f)
		}
		lines = append(lines, strings.Join(words, "\t"))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if err := printTo(w, "%s\n", strings.Join(lines, "\n")); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
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
