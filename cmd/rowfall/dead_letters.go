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

func newDeadLetters() *cobra.Command {
	return &cobra.Command{
		Use:   "dead-letters FILE [list | show ID | retry [ID] | drop ID]",
		Short: "List, retry or drop the rows of which a change could not be applied",
		Long: "List the dead letters: rows of which a change could not be applied, where the " +
			"mapping sets on_error or too_long to dead_letter.\nThe keys of such a row stay as " +
			"they were. The next change of the row that can be applied clears its letter.\n" +
			"retry reads the rows again, and writes those that can be applied now. drop forgets " +
			"a letter; the row stays as it is.\n" +
			"If the pipeline does not run, list, show and drop use its directory.",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := needsFile(cmd, args); err != nil {
				return err
			}
			switch rest := args[1:]; {
			case len(rest) == 0, len(rest) == 1 && (rest[0] == "list" || rest[0] == "retry"):
				return nil
			case len(rest) == 2 &&
				(rest[0] == "show" || rest[0] == "retry" || rest[0] == "drop"):
				if id, err := strconv.Atoi(rest[1]); err == nil && id > 0 {
					return nil
				}
			}
			return usageError{fmt.Errorf("dead-letters %s: want FILE, then list, show ID, "+
				"retry [ID] or drop ID", strings.Join(args, " "))}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			action, id := "list", ""
			if len(args) > 1 {
				action = args[1]
			}
			if len(args) > 2 {
				id = args[2]
			}
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			switch action {
			case "retry":
				return retryLetters(ctx, out, args[0], id)
			case "drop":
				return dropLetter(ctx, out, args[0], id)
			}
			return listLetters(ctx, out, args[0], id)
		},
	}
}

// readLetters returns the dead letters of the running pipeline, else those of its directory.
func readLetters(ctx context.Context, path string) (list []pipelines.DeadLetter, err error) {
	reply, err := askRunning(ctx, path, "ROWFALL", "DEADLETTERS")
	if errors.Is(err, errNotRunning) {
		err = inDirectory(ctx, path, func(ctx context.Context, s *pipelines.Stopped) (err error) {
			list, err = s.DeadLetters(ctx)
			return err
		})
		return list, err
	}
	if err != nil {
		return nil, err
	}
	items, _ := reply.([]any)
	for _, item := range items {
		fields, _ := item.([]any)
		if len(fields) < 6 {
			return nil, errors.New("the node's reply to ROWFALL DEADLETTERS is not understood")
		}
		id, _ := fields[0].(int64)
		text := func(k int) string { return fmt.Sprint(fields[k]) }
		list = append(list, pipelines.DeadLetter{
			ID: int(id), Table: text(1), Row: text(2), Time: text(3), Position: text(4),
			Reason: text(5),
		})
	}
	return list, nil
}

// listLetters prints the dead letters. id selects one letter, which is printed in full; empty
// selects all.
func listLetters(ctx context.Context, out io.Writer, path, id string) error {
	list, err := readLetters(ctx, path)
	if err != nil {
		return err
	}
	for i := range list {
		if l := &list[i]; strconv.Itoa(l.ID) == id {
			return printTo(out, "dead letter %d\n  table: %s\n  row: %s\n  time: %s\n"+
				"  after position: %s\n  reason: %s\n",
				l.ID, l.Table, l.Row, l.Time, l.Position, l.Reason)
		}
	}
	switch {
	case id != "":
		return fmt.Errorf("there is no dead letter %s; rowfall dead-letters %s lists them",
			id, path)
	case len(list) == 0:
		return printTo(out, "no dead letters\n")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	err = printTo(w, "ID\tTABLE\tROW\tTIME\tREASON\n")
	for i := range list {
		l := &list[i]
		err = errors.Join(err,
			printTo(w, "%d\t%s\t%s\t%s\t%s\n", l.ID, l.Table, l.Row, l.Time, l.Reason))
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("print dead letters: %w", err)
	}
	return nil
}

// retryLetters makes the running pipeline read the row of a letter again, or all if id is empty.
func retryLetters(ctx context.Context, out io.Writer, path, id string) error {
	command := []string{"ROWFALL", "DEADLETTERS", "RETRY"}
	if id != "" {
		command = append(command, id)
	}
	rows, err := askRunning(ctx, path, command...)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%v rows are", rows)
	if rows == int64(1) {
		what = "1 row is"
	}
	return printTo(out, "%s read again; `rowfall dead-letters %s` shows those that still "+
		"cannot be applied\n", what, path)
}

// dropLetter forgets a letter.
func dropLetter(ctx context.Context, out io.Writer, path, id string) error {
	_, err := askRunning(ctx, path, "ROWFALL", "DEADLETTERS", "DROP", id)
	if errors.Is(err, errNotRunning) {
		n, convErr := strconv.Atoi(id)
		if convErr != nil {
			return usageError{convErr}
		}
		err = inDirectory(ctx, path, func(ctx context.Context, s *pipelines.Stopped) error {
			return s.DropDeadLetter(ctx, n)
		})
	}
	if err != nil {
		return err
	}
	return printTo(out, "dead letter %s: dropped\n", id)
}
