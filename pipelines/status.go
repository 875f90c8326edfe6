package pipelines

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rowfall/replication"
)

// Info appends INFO's section about pipelines: a line for each, whose fields are name=value,
// separated by commas. See appendValue for values that hold a comma themselves.
func (c *Commands) Info(dst []byte) []byte {
	names, all := c.positions()
	if c.pipeline != nil && !slices.Contains(names, c.pipeline.config.Name) {
		names = append(names, c.pipeline.config.Name) // it has written nothing yet
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
		if s != nil {
			dst = appendStats(dst, s, f["state"])
			dst = appendUnmapped(dst, name, s.Unmapped)
		}
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func appendStats(dst []byte, s *Stats, phase string) []byte {
	held := make([]string, len(s.Held))
	for i, h := range s.Held {
		held[i] = h.String()
	}
	dst = appendValue(dst, "stopped", s.Stopped)
	dst = appendValue(dst, "retrying", s.Retrying)
	dst = appendValue(dst, "unproved", s.Unproved)
	dst = fmt.Appendf(dst, ",splits=%d", s.Splits)
	tables := make([]string, len(s.Unmapped))
	for i, t := range s.Unmapped {
		tables[i] = t.Table
	}
	dst = appendValue(dst, "unmapped", strings.Join(tables, ";"))
	dst = appendValue(dst, "phase", phase)
	return appendValue(dst, "held", strings.Join(held, "; "))
}

// visibleState says how a pipeline fares: the state of its data, unless something keeps the
// pipeline from working. Data that were streaming when MySQL went away are as fresh as their
// position says, but nothing streams.
func visibleState(phase string, s *Stats, role replication.Role) string {
	switch {
	case s == nil:
		return phase // the data's own is all that is known here
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
	}
	return phase
}

// appendUnmapped appends a line for each table that is not mapped, with the reason.
func appendUnmapped(dst []byte, pipeline string, tables []UnmappedTable) []byte {
	const most = 100 // INFO is read every second
	for i, t := range tables[:min(len(tables), most)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_unmapped%d:", pipeline, i)
		dst = append(dst, appendValue(appendValue(nil, "table", t.Table), "reason", t.Reason)[1:]...)
	}
	return dst
}

// appendValue appends ",name=value". A value with a comma, a quote, a backslash or a control
// character is a JSON string, so that a reader finds its end and gets the very bytes: a GTID set
// of two servers, an error's text.
func appendValue(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ','), name...), '=')
	special := func(r rune) bool { return r < ' ' || r == ',' || r == '"' || r == '\\' }
	if !strings.ContainsFunc(value, special) {
		return append(dst, value...)
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // a string never fails
	return append(dst, strings.TrimSuffix(text.String(), "\n")...)
}
