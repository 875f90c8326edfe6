package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rowfall/pipelines"
	"rowfall/pipelines/tablestate"
)

func newStatus() *cobra.Command {
	var asJSON, failOnGap bool
	cmd := &cobra.Command{
		Use:   "status FILE [--json] [--fail-on-gap]",
		Short: "Show a pipeline: position, jobs, tables in quarantine, gaps",
		Long: "Show the position, jobs, tables in quarantine and gaps of each pipeline whose " +
			"data the node of FILE holds.\nIf no process runs the pipeline, they are read from " +
			"its directory, which must not be in use, and the state is `not running`.\n" +
			"With --fail-on-gap, the exit status is 1 if there are gaps or tables in quarantine.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := readStatus(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			text := statusText(s)
			if asJSON {
				encoded, err := json.Marshal(s)
				if err != nil {
					return fmt.Errorf("encode the status: %w", err)
				}
				text = string(encoded)
			}
			if err := printTo(cmd.OutOrStdout(), "%s\n", strings.TrimSpace(text)); err != nil {
				return err
			}
			gaps, quarantined := s.CountHoles()
			if failOnGap && gaps+quarantined > 0 {
				return fmt.Errorf("%s: %s, %s in quarantine; repair with rowfall backfill",
					args[0], counted(gaps, "gap"), counted(quarantined, "table"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&failOnGap, "fail-on-gap", false,
		"exit with status 1 if there are gaps or tables in quarantine")
	return cmd
}

// readStatus returns the status of the node of a file, or that of its directory if no process runs
// the node.
func readStatus(ctx context.Context, path string) (*pipelines.NodeStatus, error) {
	var status pipelines.NodeStatus
	reply, err := askRunning(ctx, path, "ROWFALL", "STATUS", "JSON")
	if errors.Is(err, errNotRunning) {
		err = inDirectory(ctx, path, func(ctx context.Context, s *pipelines.Stopped) (err error) {
			status, err = s.Status(ctx)
			return err
		})
		return &status, err
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(fmt.Sprint(reply)), &status); err != nil {
		return nil, fmt.Errorf("read the status of the node: %w", err)
	}
	return &status, nil
}

// statusText returns the status as text for a terminal.
func statusText(s *pipelines.NodeStatus) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if len(s.Pipelines) == 0 {
		line("the node is a %s without data of a pipeline", s.Role)
	}
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		line("pipeline %s: %s, on a %s", p.Name, p.State, s.Role)
		line("  position: %s", positionText(p))
		if p.State == pipelines.StateNotRunning {
			line("  data: %s; lag: unknown", p.Phase)
		}
		if p.Revision != "" {
			line("  revision: %s", p.Revision)
		}
		if p.GTID != "" {
			line("  gtid: %s", p.GTID)
		}
		for _, reason := range [...][2]string{
			{"stopped", p.Stopped}, {"retrying", p.Retrying}, {"unproved", p.Unproved},
		} {
			if reason[1] != "" {
				line("  %s: %s", reason[0], reason[1])
			}
		}
		for _, h := range p.Held {
			line("  held: %s", h)
		}
		writeTables(line, p)
		for i := range p.Gaps {
			line("  gap %d: %s", p.Gaps[i].ID, gapText(&p.Gaps[i]))
		}
		for _, skip := range p.Skips {
			line("  will be skipped: %s%s", skip.At, tablesText(" in ", skip.Tables))
		}
	}
	return b.String()
}

// writeTables writes the tables in quarantine, the tables being rebuilt, the jobs, the tables that
// are not mapped, those whose cascades are ignored, and the warnings about the mapping and the
// server.
func writeTables(line func(format string, args ...any), p *pipelines.PipelineStatus) {
	for _, f := range p.Quarantined {
		at := ""
		if f.Position != "" {
			at = fmt.Sprintf(" after %s: %s", f.Position, f.Reason)
		}
		line("  in quarantine: %s%s", f.Table, at)
	}
	if len(p.Rebuilding) > 0 {
		line("  rebuilding: %s", strings.Join(p.Rebuilding, ", "))
	}
	for i := range p.Jobs {
		j := &p.Jobs[i]
		line("  job %d: %s, %s, %d rows of about %d: %s", j.ID, j.Table, j.State, j.Rows,
			j.Estimate, j.Reason)
	}
	if p.DeadLetters > 0 {
		line("  dead letters: %d; rowfall dead-letters FILE lists them", p.DeadLetters)
	}
	for _, t := range p.Unmapped {
		line("  not mapped: %s: %s", t.Table, t.Reason)
	}
	for _, table := range p.IgnoredCascades {
		line("  cascades: %s: foreign-key cascades are ignored", table)
	}
	for _, w := range p.Warnings {
		text := w.Warning
		if w.Table != "" {
			text = w.Table + ": " + text
		}
		line("  warning: %s", text)
	}
}

// positionText returns the position as text. A pipeline that has just been created has none.
func positionText(p *pipelines.PipelineStatus) string {
	switch {
	case p.File == "" && p.GTID == "":
		return "none yet"
	case p.File == "":
		return "file and offset not known yet, committed " + timeText(p.Time)
	}
	return fmt.Sprintf("%s:%s of server %s, committed %s", p.File, p.Offset, p.Server,
		timeText(p.Time))
}

// counted returns "1 gap" or "2 gaps".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func gapText(g *tablestate.Gap) string {
	text := g.Cause
	if g.At != "" {
		text += " " + g.At
	}
	if text += tablesText(", tables ", g.Tables); len(g.Tables) == 0 {
		text += ", all tables"
	}
	if g.Reason != "" {
		text += " (" + g.Reason + ")"
	}
	return text + ", made " + timeText(strconv.FormatInt(g.Time, 10)) +
		", after " + g.From + " until " + g.To
}

func tablesText(before string, tables []string) string {
	if len(tables) == 0 {
		return ""
	}
	return before + strings.Join(tables, ", ")
}

// timeText returns microseconds since 1970 as a time; "unknown" for 0.
func timeText(micros string) string {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n == 0 {
		return "unknown"
	}
	return time.UnixMicro(n).UTC().Format(time.RFC3339)
}
