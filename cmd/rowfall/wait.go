package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"rowfall/pipelines"
)

const (
	// jobPollInterval is how often a command that waits for a job looks for it.
	jobPollInterval = 500 * time.Millisecond
	// jobPollLimit is how long the node may not answer, for example while it restarts.
	jobPollLimit = time.Minute
)

// startJob sends a command that starts a job to the running pipeline, and returns the job's number.
func startJob(ctx context.Context, path string, command ...string) (int, error) {
	reply, err := askRunning(ctx, path, command...)
	if err != nil {
		return 0, err
	}
	id, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("the node's reply to %s is not the number of a job", command[1])
	}
	return int(id), nil
}

// waitForJob waits until a job of the running pipeline has ended, and shows its progress. It
// returns an error if the job has failed or waits for the user, and after an interrupt. The job
// goes on in either case.
func waitForJob(cmd *cobra.Command, logging *logFlags, path string, id int) error {
	var shown atomic.Pointer[pipelines.Job]
	var m meter
	stop, _, err := showProgress(logging, func(now time.Time) string {
		j := shown.Load()
		if j == nil {
			return ""
		}
		return fmt.Sprintf("job %d: %s: %s: %s", j.ID, j.Table, j.State,
			m.text(j.Rows, j.Estimate, "rows", now, nil))
	})
	if err != nil {
		return err
	}
	defer stop()
	ctx, answered := cmd.Context(), time.Now()
	tick := time.NewTicker(jobPollInterval)
	defer tick.Stop()
	for {
		list, err := runningJobs(ctx, path)
		if err != nil && ctx.Err() == nil && time.Since(answered) > jobPollLimit {
			return fmt.Errorf("wait for job %d: %w; a job that is not done goes on with the "+
				"pipeline", id, err)
		}
		if err == nil {
			answered = time.Now()
			j := findJob(list, id, shown.Load())
			if j == nil {
				return printTo(cmd.OutOrStdout(), "job %d has ended\n", id)
			}
			id = j.ID
			shown.Store(j)
			if err := jobFault(j, path); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted: job %d goes on; `rowfall jobs %s` shows its progress, "+
				"and `rowfall jobs %s cancel %d` ends it", id, path, path, id)
		case <-tick.C:
		}
	}
}

// findJob returns the job with a number, or the job that has taken its place: before is what was
// last seen of the job. A statement that alters the table starts another job. It returns nil if the
// job has ended.
func findJob(list []pipelines.Job, id int, before *pipelines.Job) *pipelines.Job {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	for i := range list {
		if before != nil && list[i].Table == before.Table && list[i].ID > id {
			return &list[i]
		}
	}
	return nil
}

// jobFault returns an error if a job does not go on without the user.
func jobFault(j *pipelines.Job, path string) error {
	switch {
	case strings.HasPrefix(j.State, "failed:"):
		return fmt.Errorf("job %d of %s has %s; remove it with `rowfall jobs %s cancel %d`",
			j.ID, j.Table, j.State, path, j.ID)
	case j.State == "cancelled":
		return fmt.Errorf("job %d of %s was cancelled", j.ID, j.Table)
	case j.State == "in quarantine":
		return fmt.Errorf("job %d cannot go on: %s is in quarantine; `rowfall status %s` shows "+
			"the reason", j.ID, j.Table, path)
	case j.State == "waiting for confirm":
		return fmt.Errorf("job %d of %s would remove %d of %d keys and waits; "+
			"`rowfall jobs %s confirm %d` or `cancel %d`", j.ID, j.Table, j.Stale, j.Checked, path,
			j.ID, j.ID)
	}
	return nil
}

// runningJobs returns the jobs of the running pipeline.
func runningJobs(ctx context.Context, path string) ([]pipelines.Job, error) {
	reply, err := askRunning(ctx, path, "ROWFALL", "JOBS")
	if err != nil {
		return nil, err
	}
	items, _ := reply.([]any)
	list := make([]pipelines.Job, len(items))
	for i, item := range items {
		fields, _ := item.([]any)
		if len(fields) < 8 {
			return nil, errors.New("the node's reply to ROWFALL JOBS is not understood")
		}
		number := func(k int) int64 { n, _ := fields[k].(int64); return n }
		list[i] = pipelines.Job{
			ID: int(number(0)), Table: fmt.Sprint(fields[1]), State: fmt.Sprint(fields[2]),
			Rows: number(3), Estimate: number(4), Stale: number(5), Checked: number(6),
			Reason: fmt.Sprint(fields[7]),
		}
	}
	return list, nil
}
