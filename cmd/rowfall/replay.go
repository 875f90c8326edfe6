package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/binlog"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

// replayFlags are the flags of `rowfall replay`.
type replayFlags struct {
	from, to, schema string
	missing          string
	binlogs          []string
	afterCrash       []string
	noWait           bool
}

func newReplay(logging *logFlags) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use: "replay FILE --from POSITION [--to POSITION] | " +
			"replay FILE --binlog PATH... [--from POSITION] [--to POSITION] [--schema dump.sql]",
		Short: "Read again what a stretch of the binlog has changed, or apply binlog files",
		Long: "Without --binlog: read a stretch of the binlog again, over a second connection, " +
			"while the pipeline runs,\nand correct the rows that it has changed. A job reads " +
			"these rows as they are now, writes what differs,\nand removes the keys and members " +
			"of deleted rows. A table that a DDL statement names, in the stretch\nor after it, " +
			"is read as a whole. The position of the pipeline does not move.\n" +
			"The command waits for the end of the job, and shows its progress. If the command is " +
			"interrupted, the job goes on.\nIf the pipeline does not run, the request is stored " +
			"in its directory, and the next `rowfall run` starts the job.\n\n" +
			"With --binlog: apply the transactions of binlog files literally to the empty " +
			"directory of a pipeline that does not run.\nNo MySQL is needed. The columns of the " +
			"tables come from the CREATE TABLE statements in the files, from full metadata\n" +
			"(binlog_row_metadata=FULL), or from --schema. The first file begins, unless --from " +
			"is given, and the last one ends the stretch.\nThe position of the data becomes that " +
			"of the last transaction, and `rowfall run` continues there.",
		Example: "  rowfall replay shop.yaml --from binlog.000017:4\n" +
			"  rowfall replay shop.yaml --from time:2026-11-28T10:00:00Z " +
			"--to time:2026-11-28T11:00:00Z\n" +
			"  rowfall replay shop.yaml --binlog backup/binlog.0000*",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(f.binlogs) > 0 { // a pattern of the shell may be several arguments
				return needsFile(cmd, args)
			}
			return oneFile(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return usageError{err}
			}
			if len(f.binlogs) > 0 {
				return replayFiles(cmd, logging, args[0], f, args[1:])
			}
			return replayLive(cmd, logging, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "where the stretch begins: gtid:SET, FILE:OFFSET or "+
		"time:2026-11-28T10:00:00Z; with --binlog, the default is the beginning of the first file")
	flags.StringVar(&f.to, "to", "", "where it ends; default: the pipeline's position, or the end "+
		"of the last file")
	flags.StringArrayVar(&f.binlogs, "binlog", nil, "a binlog file to apply literally; may be "+
		"repeated, and further files may follow")
	flags.StringVar(&f.schema, "schema", "", "with --binlog: the tables as they were at --from, "+
		"if the files do not have their columns: a file of CREATE TABLE statements, such as "+
		"mysqldump --no-data --databases writes")
	flags.StringArrayVar(&f.afterCrash, "after-crash", nil, "with --binlog, on a log without "+
		"GTIDs: one of the files, at whose end the server has crashed; may be repeated")
	flags.StringVar(&f.missing, "missing", "", "with --binlog: a GTID set of transactions that "+
		"no file contains, because gtid_purged was set on the server; makes a gap")
	flags.BoolVar(&f.noWait, "no-wait", false, noWaitUsage)
	return cmd
}

// check returns an error for flags that do not fit together.
func (f *replayFlags) check() error {
	isLiteral := len(f.binlogs) > 0
	switch {
	case f.from == "" && !isLiteral:
		return errors.New("replay needs --from POSITION")
	case f.schema != "" && !isLiteral:
		return errors.New("--schema belongs to --binlog")
	case len(f.afterCrash) > 0 && !isLiteral:
		return errors.New("--after-crash belongs to --binlog")
	case f.missing != "" && !isLiteral:
		return errors.New("--missing belongs to --binlog")
	case f.noWait && isLiteral:
		return errors.New("--no-wait does not fit --binlog: no job runs, the command does the work")
	}
	for _, p := range [...][2]string{{"from", f.from}, {"to", f.to}} {
		if p[1] == "" {
			continue
		}
		if err := binlog.CheckPosition(p[1]); err != nil {
			return fmt.Errorf("--%s %q: %w; want gtid:SET, FILE:OFFSET or time:TIME", p[0], p[1],
				err)
		}
	}
	return nil
}

// replayLive corrects the rows that a stretch has changed.
func replayLive(cmd *cobra.Command, logging *logFlags, path string, f replayFlags) error {
	command := []string{"ROWFALL", "REPLAY", f.from}
	if f.to != "" {
		command = append(command, f.to)
	}
	id, err := startJob(cmd.Context(), path, command...)
	if errors.Is(err, errNotRunning) {
		return storeReplay(cmd, path, f)
	}
	if err != nil {
		return err
	}
	err = printTo(cmd.OutOrStdout(), "job %d reads the rows again; `rowfall jobs %s` shows its "+
		"progress\n", id, path)
	if err != nil || f.noWait {
		return err
	}
	return waitForJob(cmd, logging, path, id)
}

// storeReplay stores the request in the directory of a pipeline that does not run.
func storeReplay(cmd *cobra.Command, path string, f replayFlags) error {
	c, err := file.Load(path)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
	defer cancel()
	id, err := pipelines.StoreReplay(ctx, *c, f.from, f.to, zerolog.Nop())
	if err != nil {
		return err
	}
	return printTo(cmd.OutOrStdout(), storedText, id, path)
}

// storedText is printed after a request was stored in the directory of a stopped pipeline.
const storedText = "the pipeline does not run: job %d is stored, " +
	"and starts with the next `rowfall run %s`\n"
