package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/binlog"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

func newRun(logging *logFlags) *cobra.Command {
	var (
		from string
		yes  bool
	)
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run one pipeline per file, many in one process",
		Long: "Run one pipeline per file, each with a node of its own.\n" +
			"A pipeline goes on where its data stands; without data it begins with a snapshot (source.mysql.start).",
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if from != "" && from != "snapshot" && from != "now" {
				if _, err := binlog.ParsePosition(from); err != nil {
					return usageError{fmt.Errorf("--from %q: %w; want snapshot, now, gtid:SET or FILE:OFFSET", from, err)}
				}
			}
			configs, err := loadAll(files)
			if err != nil {
				return usageError{err}
			}
			// The flags are checked before confirm asks.
			if _, err := logging.logger("", "info"); err != nil {
				return err
			}
			if from != "" && !yes {
				if err := confirm(from); err != nil {
					return err
				}
			}
			return runPipelines(cmd.Context(), logging, configs, from)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "rewind or skip: start at this POSITION "+
		"(snapshot, now, gtid:SET or FILE:OFFSET) instead of where the data stand; "+
		"asks first on a terminal, elsewhere it needs --yes")
	cmd.Flags().BoolVar(&yes, "yes", false, "start --from without asking")
	return cmd
}

// confirm asks on the terminal before the position is moved.
func confirm(from string) error {
	what := "moves the position of live data"
	if from == "snapshot" {
		what = "removes the data of the node, and of its replicas, and reads everything again"
	}
	if !isTerminal(os.Stdin) {
		return usageError{fmt.Errorf("--from %s %s; add --yes to say that you mean it", from, what)}
	}
	fmt.Fprintf(os.Stderr, "--from %s %s. Go on? [y/N] ", from, what)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// loadAll reads the pipeline files and returns the faults of all of them.
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

func runPipelines(
	ctx context.Context, logging *logFlags, configs []*file.Config, from string,
) error {
	var log zerolog.Logger
	var bars *progress
	if isTerminal(os.Stderr) {
		bars = newProgress(os.Stderr)
		logging = &logFlags{format: logging.format, level: logging.level, out: bars}
		defer bars.start()()
	}
	open := make([]func() (*pipelines.Instance, error), 0, len(configs))
	for _, c := range configs {
		own, err := logging.logger(c.Log.Format, c.Log.Level)
		if err != nil {
			return err
		}
		log = own
		open = append(open, func() (*pipelines.Instance, error) {
			m, err := pipelines.Open(*c, from, own)
			if err == nil {
				bars.add(c.Name, m.Pipeline.Stats)
				own.Info().Str("pipeline", c.Name).Str("listen", m.Node.Addr()).Str("dir", c.Node.Dir).Msg("node is open")
			}
			return m, err
		})
	}
	return pipelines.RunAll(ctx, log, open...)
}
