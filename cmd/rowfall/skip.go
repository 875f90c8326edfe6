package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rowfall/binlog"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

func newSkip(logging *logFlags) *cobra.Command {
	var at string
	var tables []string
	cmd := &cobra.Command{
		Use:   "skip FILE --at POSITION [--table DATABASE.TABLE]...",
		Short: "Step over one transaction that cannot be applied; recorded as a gap",
		Long: "Skip one transaction that cannot be applied. The error of that transaction " +
			"contains its POSITION: gtid: and one GTID, or FILE:OFFSET on a server without " +
			"GTIDs.\n" +
			"With --table, which can be given several times, only the changes of these tables " +
			"are left out, and the others of the transaction are applied. Where changes were " +
			"logged as a statement, --table states that the statement changes no other mapped " +
			"table; name all tables that it changes in one command, because the pipeline runs " +
			"again at once.\n" +
			"The request is stored with the data, and executed when the stream reaches that " +
			"transaction. If the pipeline has stopped or waits for a retry, it runs again at " +
			"once. If no process runs, the request is stored in the directory for the next " +
			"start.\n" +
			"The skipped changes are a gap, which `rowfall status` shows until every table " +
			"concerned is read again: rowfall backfill FILE --table DATABASE.TABLE.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if at == "" {
				return usageError{errors.New("skip needs --at POSITION, as the error of the " +
					"transaction names it")}
			}
			if _, err := binlog.ParseTransactionID(at); err != nil {
				return usageError{fmt.Errorf("--at: %w; want gtid: and one GTID, "+
					"or FILE:OFFSET", err)}
			}
			if slices.Contains(tables, "") {
				return usageError{errors.New("--table is empty; want DATABASE.TABLE, or omit it " +
					"to skip the whole transaction")}
			}
			where, err := requestSkip(cmd.Context(), logging, args[0], at, tables)
			if err != nil {
				return err
			}
			what := "the transaction"
			if len(tables) > 0 {
				what = "the changes of " + strings.Join(tables, ", ") + " in the transaction"
				where += ", or were left out already if it has a gap"
			}
			return printTo(cmd.OutOrStdout(), "%s at %s will be left out %s; then "+
				"`rowfall status %s` shows the gap\n", what, at, where, args[0])
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the transaction: gtid:ONE-GTID or FILE:OFFSET, as the "+
		"error names it")
	cmd.Flags().StringArrayVar(&tables, "table", nil, "leave out only the changes of this "+
		"table, as DATABASE.TABLE; can be given several times")
	return cmd
}

// requestSkip stores a request to skip a transaction: through the node of the running pipeline, or
// in the directory if no process runs. where describes when the request is executed.
func requestSkip(
	ctx context.Context, logging *logFlags, path, at string, tables []string,
) (where string, err error) {
	command := append([]string{"ROWFALL", "SKIP", at}, tables...)
	_, err = askRunning(ctx, path, command...)
	if !errors.Is(err, errNotRunning) {
		return "when the stream reaches it", err
	}
	c, err := file.Load(path)
	if err != nil {
		return "", usageError{err}
	}
	log, err := logging.logger(c.Log.Format, c.Log.Level)
	if err != nil {
		return "", err
	}
	err = pipelines.SkipStopped(ctx, *c, at, tables, log)
	return "after the next start", err
}
