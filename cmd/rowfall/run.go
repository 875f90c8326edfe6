package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"rowfall/binlog"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

func newRun(logging *logFlags) *cobra.Command {
	var (
		from, schema string
		replace, yes bool
	)
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run one pipeline per file, many in one process",
		Long: "Run one pipeline per file, each with a node of its own.\n" +
			"A pipeline resumes at the position of its data. Without data it starts with an " +
			"initial load (see source.mysql.start).\n" +
			"--from snapshot --replace builds all data anew. The node and its replicas serve the " +
			"old data unchanged until every table is complete; old and new data are in memory " +
			"meanwhile. Then every replica gets one full resync: " + pipelines.StockReplicas +
			".\nIf the process ends before that, the same command continues; a run without " +
			"--replace that can follow the source with the old data discards the replacement.",
		Args: needsFile,
		RunE: func(cmd *cobra.Command, files []string) error {
			if from != "" && from != "snapshot" && from != "now" {
				if err := binlog.CheckPosition(from); err != nil {
					return usageError{fmt.Errorf("--from %q: %w; want snapshot, now, gtid:SET, "+
						"FILE:OFFSET or time:TIME", from, err)}
				}
			}
			if replace && from != "snapshot" {
				return usageError{errors.New("--replace belongs to --from snapshot")}
			}
			if replace {
				from = pipelines.FromReplace
			}
			if schema != "" && len(files) != 1 {
				return usageError{errors.New("--schema needs exactly one FILE")}
			}
			dump, err := readSchema(schema)
			if err != nil {
				return usageError{err}
			}
			configs, err := loadAll(files)
			if err != nil {
				return usageError{err}
			}
			// Check the flags before the user is asked to confirm.
			if _, err := logging.logger("", "info"); err != nil {
				return err
			}
			if from != "" && !yes {
				if err := confirm(from); err != nil {
					return err
				}
			}
			return runPipelines(cmd.Context(), logging, configs, from, dump)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "rewind or skip: start at this POSITION "+
		"(snapshot, now, gtid:SET, FILE:OFFSET or time:2026-11-28T10:00:00Z) instead of the "+
		"position of the data; asks first on a terminal, elsewhere it needs --yes")
	cmd.Flags().BoolVar(&replace, "replace", false, "with --from snapshot: build all data anew "+
		"while the old data serve, and then replace the old data in one step; "+
		"needed for data of another mapping or origin")
	cmd.Flags().StringVar(&schema, "schema", "", "the tables as they were at the POSITION of "+
		"--from or of source.mysql.start, if the binlog does not have their columns: a file of "+
		"CREATE TABLE statements, such as mysqldump --no-data --databases writes")
	cmd.Flags().BoolVar(&yes, "yes", false, "start --from without asking")
	return cmd
}

// readSchema returns the text of the file that --schema names; empty without one.
func readSchema(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read --schema: %w", err)
	}
	return string(text), nil
}

// confirm asks the user on the terminal before --from moves the position. It returns an error if
// the answer is not yes, or if there is no terminal.
func confirm(from string) error {
	effect := "moves the position of live data; transactions that it skips become a gap"
	switch from {
	case pipelines.FromReplace:
		effect = "builds all data anew. The old data serve unchanged until the new data are " +
			"complete; the memory must hold both. Then every replica gets a full resync: " +
			pipelines.StockReplicas
	case "snapshot":
		effect = "reads every table again, while the data serve, and removes keys without a row"
	}
	if !isTerminal(os.Stdin) {
		return usageError{fmt.Errorf("--from %s %s; add --yes to confirm", from, effect)}
	}
	fmt.Fprintf(os.Stderr, "--from %s %s. Continue? [y/N] ", from, effect)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// loadAll loads the pipeline files. The error has the faults of all files.
func loadAll(files []string) ([]*file.Config, error) {
	configs := make([]*file.Config, 0, len(files))
	var faults []error
	for _, f := range files {
		c, err := file.Load(f)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		configs = append(configs, c)
	}
	faults = append(faults, file.CheckTogether(configs))
	return configs, errors.Join(faults...)
}

// runPipelines runs the pipelines until ctx ends. Each pipeline has the logger of its file. schema
// is the text of --schema.
func runPipelines(
	ctx context.Context, logging *logFlags, configs []*file.Config, from, schema string,
) error {
	var bars *progress
	if isTerminal(os.Stderr) {
		bars = newProgress(os.Stderr)
		logging = &logFlags{format: logging.format, level: logging.level, out: bars}
		defer bars.start()()
	}
	openers := make([]pipelines.Opener, 0, len(configs))
	for _, c := range configs {
		log, err := logging.logger(c.Log.Format, c.Log.Level)
		if err != nil {
			return err
		}
		for _, warning := range c.Warnings {
			log.Warn().Msg(warning.Error())
		}
		open := func() (*pipelines.Instance, error) {
			m, err := pipelines.Open(*c, from, log)
			if err != nil {
				return nil, openFault(c, err)
			}
			m.Pipeline.UseSchema(schema)
			bars.add((&loadProgress{name: c.Name, stats: m.Pipeline.Stats}).line)
			log.Info().Str("pipeline", c.Name).Str("listen", m.Node.Addr()).
				Str("dir", c.Sink.Node.Dir).Msg("node is open")
			return m, nil
		}
		openers = append(openers, pipelines.Opener{Open: open, Log: log})
	}
	return pipelines.RunAll(ctx, openers...)
}
