package pipelines

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rowfall/replication"
)

// Info appends the section Rowfall of INFO: a line for each pipeline, with fields name=value
// separated by commas. appendValue quotes values that contain a comma.
func (c *Commands) Info(dst []byte) []byte {
	names, all := c.positions()
	if c.pipeline != nil && !slices.Contains(names, c.pipeline.config.Name) {
		names = append(names, c.pipeline.config.Name) // the pipeline has written nothing yet
	}
	dst = append(dst, "# Rowfall\r\n"...)
	dst = fmt.Appendf(dst, "rowfall_pipelines:%d\r\n", len(names))
	for _, name := range names {
		f := all[name]
		var s *Stats // nil: the pipeline runs elsewhere
		if c.pipeline != nil && name == c.pipeline.config.Name {
			stats := c.pipeline.Stats()
			s = &stats
		}
		role, _ := c.node().Role()
		dst = fmt.Appendf(dst, "rowfall_%s:state=%s", name, visibleState(f["state"], s, role))
		for _, field := range []string{"file", "offset", "time", "gtid"} {
			dst = appendValue(dst, field, f[field])
		}
		for _, field := range []string{"rebuilding", "quarantined", "gaps"} {
			if f[field] != "" {
				dst = appendValue(dst, field, f[field])
			}
		}
		if s != nil {
			dst = appendStats(dst, s, f["state"])
			dst = appendReplacement(dst, name, s.Replacement)
			dst = appendUnmapped(dst, name, s.Unmapped)
			dst = appendFaults(dst, name, s.Quarantined)
			dst = appendCascades(dst, name, s.IgnoredCascades)
			dst = appendWarnings(dst, name, s.Warnings)
			dst = appendJobLines(dst, name, s.Jobs)
			dst = appendSkips(dst, name, s.Skips)
		}
		dst = appendGaps(dst, name, openGaps(f))
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendStats appends the fields that only the process of the pipeline knows.
func appendStats(dst []byte, s *Stats, phase string) []byte {
	held := make([]string, len(s.Held))
	for i, h := range s.Held {
		held[i] = h.String()
	}
	dst = appendValue(dst, "stopped", s.Stopped)
	dst = appendValue(dst, "retrying", s.Retrying)
	dst = appendValue(dst, "unproved", s.Unproved)
	dst = fmt.Appendf(dst, ",dead_letters=%d", s.DeadLetters)
	dst = fmt.Appendf(dst, ",splits=%d,passed_statements=%d", s.Splits, s.PassedStatements)
	dst = fmt.Appendf(dst, ",prepared_xa=%d", s.PreparedXA)
	tables := make([]string, len(s.Unmapped))
	for i, t := range s.Unmapped {
		tables[i] = t.Table
	}
	dst = appendValue(dst, "unmapped", strings.Join(tables, ";"))
	dst = appendValue(dst, "phase", phase)
	return appendValue(dst, "held", strings.Join(held, "; "))
}

// visibleState returns the field state of a pipeline's line: the phase of its data, unless
// something keeps the pipeline from streaming. The phase alone would still be "streaming" while
// MySQL is gone.
func visibleState(phase string, s *Stats, role replication.Role) string {
	switch {
	case s == nil:
		return phase // nothing else is known of a pipeline of another process
	case s.Stopped != "":
		return "stopped"
	case role == replication.Replica:
		return phase
	case s.Retrying != "":
		return "retrying"
	case !s.Streaming:
		return "starting"
	case len(s.Held) > 0:
		return "held"
	case s.Replacement != nil:
		return "replacing"
	}
	return phase
}

// appendReplacement appends a line for the replacement that is being built. The position of the
// served data does not advance until the replacement is installed.
func appendReplacement(dst []byte, pipeline string, r *ReplacementProgress) []byte {
	if r == nil {
		return dst
	}
	dst = fmt.Appendf(dst, "\r\nrowfall_%s_replacement:tables=%d,complete=%d,rows=%d,estimate=%d",
		pipeline, r.Tables, r.Complete, r.Rows, r.Expected)
	if percent := r.Percent(); percent >= 0 {
		dst = fmt.Appendf(dst, ",percent=%d", percent)
	}
	dst = appendValue(dst, "since", r.Since.UTC().Format(time.RFC3339))
	dst = appendValue(dst, "state", r.State)
	return appendValue(dst, "reason", "the position does not advance, and ROWFALL WAIT waits, "+
		"until the replacement is installed")
}

// mostLines limits the lines of one kind: INFO must stay short, since monitoring reads it every
// second.
const mostLines = 100

// appendFaults appends a line for each table in quarantine, with the reason.
func appendFaults(dst []byte, pipeline string, tables []TableFault) []byte {
	for i, t := range tables[:min(len(tables), mostLines)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_quarantined%d:", pipeline, i)
		fields := appendValue(nil, "table", t.Table)
		fields = appendValue(appendValue(fields, "position", t.Position), "reason", t.Reason)
		dst = append(dst, fields[1:]...)
	}
	return dst
}

// appendCascades appends a line for each table whose foreign-key cascades are ignored.
func appendCascades(dst []byte, pipeline string, tables []string) []byte {
	for i, t := range tables[:min(len(tables), mostLines)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_cascades%d:", pipeline, i)
		fields := appendValue(nil, "table", t)
		fields = appendValue(fields, "reason", "foreign-key cascades are ignored")
		dst = append(dst, fields[1:]...)
	}
	return dst
}

// appendWarnings appends a line for each warning about the server or the mapping of a table.
func appendWarnings(dst []byte, pipeline string, warnings []TableWarning) []byte {
	for i, w := range warnings[:min(len(warnings), mostLines)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_warning%d:", pipeline, i)
		var fields []byte
		if w.Table != "" {
			fields = appendValue(fields, "table", w.Table)
		}
		fields = appendValue(fields, "warning", w.Warning)
		dst = append(dst, fields[1:]...)
	}
	return dst
}

// appendJobLines appends a line for each job that is not done.
func appendJobLines(dst []byte, pipeline string, list []Job) []byte {
	for i := range list[:min(len(list), mostLines)] {
		j := &list[i]
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_job%d:id=%d,rows=%d,estimate=%d,stale=%d,checked=%d",
			pipeline, i, j.ID, j.Rows, j.Estimate, j.Stale, j.Checked)
		dst = appendValue(appendValue(dst, "table", j.Table), "state", j.State)
		dst = appendValue(dst, "reason", j.Reason)
	}
	return dst
}

// appendUnmapped appends a line for each table that is not mapped, with the reason.
func appendUnmapped(dst []byte, pipeline string, tables []UnmappedTable) []byte {
	for i, t := range tables[:min(len(tables), mostLines)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_unmapped%d:", pipeline, i)
		fields := appendValue(appendValue(nil, "table", t.Table), "reason", t.Reason)
		dst = append(dst, fields[1:]...)
	}
	return dst
}

// appendValue appends ",name=value". A value that contains a comma, a quote, a backslash or a
// control character, such as a GTID set of two servers, is written as a JSON string, so that it
// can be parsed and has no line breaks.
func appendValue(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ','), name...), '=')
	special := func(r rune) bool { return r < ' ' || r == ',' || r == '"' || r == '\\' }
	if !strings.ContainsFunc(value, special) {
		return append(dst, value...)
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // encoding a string cannot fail
	return append(dst, strings.TrimSuffix(text.String(), "\n")...)
}
