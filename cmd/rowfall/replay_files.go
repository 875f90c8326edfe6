package main

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

// replayFiles applies binlog files to the empty directory of a pipeline. more are further files.
func replayFiles(
	cmd *cobra.Command, logging *logFlags, path string, f replayFlags, more []string,
) error {
	schema, err := readSchema(f.schema)
	if err != nil {
		return usageError{err}
	}
	c, err := file.Load(path)
	if err != nil {
		return usageError{err}
	}
	var running atomic.Pointer[pipelines.FileReplay]
	var m meter
	stop, with, err := showProgress(logging, func(now time.Time) string {
		r := running.Load()
		if r == nil {
			return "replay: checking the binlog files"
		}
		done, total := r.Progress()
		return "replay: " + m.text(done, total, "MiB", now, mebibytes)
	})
	if err != nil {
		return err
	}
	defer stop()
	log, err := with.logger(c.Log.Format, c.Log.Level)
	if err != nil {
		return err
	}
	r, err := pipelines.NewFileReplay(cmd.Context(), *c, pipelines.FileReplayOptions{
		Paths: append(slices.Clone(f.binlogs), more...), From: f.from, To: f.to, Schema: schema,
		AfterCrash: f.afterCrash, Missing: f.missing,
	}, log)
	if err != nil {
		return err
	}
	running.Store(r)
	result, err := r.Run(cmd.Context())
	if err != nil {
		return openFault(c, err)
	}
	err = printTo(cmd.OutOrStdout(), "%d transactions with %d rows are applied, up to %s\n"+
		"`rowfall run %s` continues there\n", result.Transactions, result.Rows, result.Position,
		path)
	if err != nil || len(result.Incomplete) == 0 {
		return err
	}
	faults := make([]string, len(result.Incomplete))
	for i, t := range result.Incomplete {
		faults[i] = t.Table + ": " + t.Reason
	}
	return fmt.Errorf("%d tables are not complete, and the next `rowfall run %s` reads them from "+
		"MySQL (those in quarantine after `rowfall backfill`): %s", len(faults), path,
		strings.Join(faults, "; "))
}
