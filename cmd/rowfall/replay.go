package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"rowfall/binlog"
)

func newReplay() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "replay FILE --from POSITION [--to POSITION]",
		Short: "Read again the rows that a stretch of the binlog has changed",
		Long: "Read a stretch of the binlog again, over a second connection, while the " +
			"pipeline runs, and correct\nthe rows that it has changed: a job reads these rows " +
			"as they are now, writes what differs, and removes\nthe keys and members of " +
			"deleted rows. A table that a DDL statement names, in the stretch or\nafter it, " +
			"is read as a whole.\n\n" +
			"The position of the pipeline does not move. `rowfall jobs FILE` shows the progress.",
		Example: "  rowfall replay shop.yaml --from binlog.000017:4\n" +
			"  rowfall replay shop.yaml --from time:2026-11-28T10:00:00Z " +
			"--to time:2026-11-28T11:00:00Z",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return usageError{fmt.Errorf("replay needs --from POSITION")}
			}
			command := []string{"ROWFALL", "REPLAY", from}
			for flag, position := range map[string]string{"from": from, "to": to} {
				if position == "" {
					continue
				}
				if err := binlog.CheckPosition(position); err != nil {
					return usageError{fmt.Errorf("--%s %q: %w; "+
						"want gtid:SET, FILE:OFFSET or time:TIME", flag, position, err)}
				}
			}
			if to != "" {
				command = append(command, to)
			}
			id, err := askRunning(cmd.Context(), args[0], command...)
			if err != nil {
				return err
			}
			return printTo(cmd.OutOrStdout(), "job %v reads the rows again; "+
				"`rowfall jobs %s` shows its progress\n", id, args[0])
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "where the stretch begins: gtid:SET, FILE:OFFSET or "+
		"time:2026-11-28T10:00:00Z")
	cmd.Flags().StringVar(&to, "to", "", "where it ends; default: the pipeline's position")
	return cmd
}
