package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newBackfill() *cobra.Command {
	var table string
	cmd := &cobra.Command{
		Use:   "backfill FILE --table DATABASE.TABLE",
		Short: "Read a table again in the running pipeline; also ends its quarantine",
		Long: "Start a job that reads all rows of a table, writes what differs and removes keys " +
			"that no row writes.\nThe old keys serve meanwhile. If the table is in quarantine, " +
			"its changes are applied again.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if table == "" {
				return usageError{fmt.Errorf("backfill needs --table DATABASE.TABLE")}
			}
			id, err := askRunning(cmd.Context(), args[0], "ROWFALL", "BACKFILL", table)
			if err != nil {
				return err
			}
			return printTo(cmd.OutOrStdout(),
				"job %v reads %s; `rowfall jobs %s` shows its progress\n", id, table, args[0])
		},
	}
	cmd.Flags().StringVar(&table, "table", "", "the table, as DATABASE.TABLE")
	return cmd
}
