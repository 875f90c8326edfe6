package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

func newBackfill(logging *logFlags) *cobra.Command {
	var table, where string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "backfill FILE --table DATABASE.TABLE [--where-sql SQL]",
		Short: "Read a table or some of its rows again; also ends a quarantine",
		Long: "Start a job that reads all rows of a table, writes what differs and removes keys " +
			"that no row writes.\nThe old keys serve meanwhile. If the table is in quarantine, " +
			"its changes are applied again.\n\n" +
			"With --where-sql, the job reads only the rows that match an SQL expression over " +
			"the table's columns.\nRows that no longer match, such as deleted ones, are not " +
			"found.\n\n" +
			"The command waits for the end of the job, and shows its progress. If the command " +
			"is interrupted, the job goes on.\n" +
			"If the pipeline does not run, the request is stored in its directory, and the next " +
			"`rowfall run` starts the job.",
		Example: "  rowfall backfill shop.yaml --table shop.orders\n" +
			"  rowfall backfill shop.yaml --table shop.orders " +
			"--where-sql \"created > '2026-11-01'\"",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if table == "" {
				return usageError{fmt.Errorf("backfill needs --table DATABASE.TABLE")}
			}
			if cmd.Flags().Changed("where-sql") && strings.TrimSpace(where) == "" {
				return usageError{errors.New("--where-sql is empty; " +
					"omit it to read every row")}
			}
			command := []string{"ROWFALL", "BACKFILL", table}
			if where != "" {
				command = append(command, "WHERE", where)
			}
			id, err := startJob(cmd.Context(), args[0], command...)
			if errors.Is(err, errNotRunning) {
				return storeBackfill(cmd, args[0], table, where)
			}
			if err != nil {
				return err
			}
			err = printTo(cmd.OutOrStdout(),
				"job %d reads %s; `rowfall jobs %s` shows its progress\n", id, table, args[0])
			if err != nil || noWait {
				return err
			}
			return waitForJob(cmd, logging, args[0], id)
		},
	}
	cmd.Flags().StringVar(&table, "table", "", "the table, as DATABASE.TABLE")
	cmd.Flags().StringVar(&where, "where-sql", "",
		"read only the rows that match this SQL expression, such as \"country = 'SE'\"")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, noWaitUsage)
	return cmd
}

// noWaitUsage describes the flag --no-wait.
const noWaitUsage = "do not wait for the end of the job"

// storeBackfill stores the request in the directory of a pipeline that does not run.
func storeBackfill(cmd *cobra.Command, path, table, where string) error {
	c, err := file.Load(path)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
	defer cancel()
	id, err := pipelines.StoreBackfill(ctx, *c, table, where, zerolog.Nop())
	if err != nil {
		return err
	}
	return printTo(cmd.OutOrStdout(), storedText, id, path)
}
