package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"rowfall/pipelines"
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
			if from != "" && !yes {
				if err := confirm(from); err != nil {
					return err
				}
			}
			return runPipelines(cmd.Context(), logging, files, from)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "rewind or skip: start at this POSITION (snapshot, now, gtid:SET or FILE:OFFSET) instead of where the data says; asks first")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
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

func runPipelines(ctx context.Context, logging *logFlags, files []string, from string) error {
	configs := make([]*pipelines.Config, 0, len(files))
	for _, f := range files {
		c, err := pipelines.Load(f)
		if err != nil {
			return usageError{err}
		}
		configs = append(configs, c)
	}
	if err := pipelines.CheckTogether(configs); err != nil {
		return usageError{err}
	}
	members := make([]*pipelines.Member, 0, len(configs))
	var failed []error
	for _, c := range configs {
		log, err := logging.logger(c.Log.Format, c.Log.Level)
		if err != nil {
			return err
		}
		m, err := pipelines.Open(*c, from, log)
		if err != nil {
			// One that cannot start leaves the others alone.
			log.Error().Err(err).Str("pipeline", c.Name).Msg("cannot start")
			failed = append(failed, err)
			continue
		}
		log.Info().Str("pipeline", c.Name).Str("listen", m.Node.Addr()).Str("dir", c.Node.Dir).Msg("node is open")
		members = append(members, m)
	}
	return errors.Join(append(failed, pipelines.RunAll(ctx, members))...)
}
