package pipelines

import (
	"encoding/json"
	"fmt"
	"strings"

	"rowfall/pipelines/holds"
	"rowfall/pipelines/tablestate"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// PendingSkip is a transaction that will be skipped when the stream reaches it: all of it, or its
// changes of some tables.
type PendingSkip struct {
	At     string   `json:"at"`
	Tables []string `json:"tables,omitempty"`
}

// recordSkips records the transactions that will be skipped.
func (m *stats) recordSkips(list []tablestate.SkipRequest) {
	shown := make([]PendingSkip, len(list))
	for i := range list {
		shown[i] = PendingSkip{At: list[i].At, Tables: list[i].Tables}
	}
	m.skips.Store(&shown)
}

// openGaps returns the gaps in the fields of a position hash.
func openGaps(fields map[string]string) []tablestate.Gap {
	var gaps []tablestate.Gap
	if text := fields["gaps"]; text != "" && json.Unmarshal([]byte(text), &gaps) != nil {
		return nil // the field itself is shown
	}
	return gaps
}

// appendGaps appends a line for each gap. tables is empty if all mapped tables are concerned.
func appendGaps(dst []byte, pipeline string, gaps []tablestate.Gap) []byte {
	for i := range gaps[:min(len(gaps), mostLines)] {
		g := &gaps[i]
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_gap%d:id=%d,time=%d", pipeline, i, g.ID, g.Time)
		for _, field := range [...][2]string{
			{"cause", g.Cause},
			{"at", g.At},
			{"from", g.From},
			{"to", g.To},
			{"tables", strings.Join(g.Tables, ";")},
			{"reason", g.Reason},
		} {
			dst = appendValue(dst, field[0], field[1])
		}
	}
	return dst
}

// appendSkips appends a line for each transaction that will be skipped.
func appendSkips(dst []byte, pipeline string, skips []PendingSkip) []byte {
	for i, s := range skips[:min(len(skips), mostLines)] {
		dst = fmt.Appendf(dst, "\r\nrowfall_%s_skip%d:", pipeline, i)
		fields := appendValue(appendValue(nil, "at", s.At), "tables", strings.Join(s.Tables, ";"))
		dst = append(dst, fields[1:]...)
	}
	return dst
}

// status implements ROWFALL STATUS.
func (c *Commands) status(dst []byte, args [][]byte) []byte {
	switch {
	case len(args) == 0:
		return resp.AppendBulk(dst, c.Info(nil))
	case len(args) > 1 || !strings.EqualFold(string(args[0]), "JSON"):
		return resp.AppendError(dst, "ERR syntax error, want ROWFALL STATUS [JSON]")
	}
	text, err := json.Marshal(c.Status())
	if err != nil {
		return resp.AppendError(dst, "ERR "+err.Error())
	}
	return resp.AppendBulk(dst, text)
}

// NodeStatus is what ROWFALL STATUS JSON shows of a node.
type NodeStatus struct {
	// Role is "master" or "replica".
	Role      string           `json:"role"`
	Pipelines []PipelineStatus `json:"pipelines"`
}

// PipelineStatus is a pipeline in NodeStatus. The fields from Stopped on are known only in the
// process in which the pipeline runs.
type PipelineStatus struct {
	Name string `json:"name"`
	// State is the phase of the data, or what keeps the pipeline from streaming, as in INFO.
	State string `json:"state"`
	// Phase is the phase of the data, whatever State is.
	Phase  string `json:"phase"`
	GTID   string `json:"gtid"`
	File   string `json:"file"`
	Offset string `json:"offset"`
	Server string `json:"server"`
	// Time is the commit time of the last applied transaction, in microseconds since 1970.
	Time        string           `json:"time"`
	Rebuilding  []string         `json:"rebuilding"`
	Quarantined []TableFault     `json:"quarantined"`
	Gaps        []tablestate.Gap `json:"gaps"`

	// Revision is that of the pipeline file.
	Revision string `json:"revision,omitempty"`
	// DeadLetters is the number of dead letters.
	DeadLetters int `json:"dead_letters,omitempty"`

	Stopped  string          `json:"stopped,omitempty"`
	Retrying string          `json:"retrying,omitempty"`
	Unproved string          `json:"unproved,omitempty"`
	Held     []holds.Hold    `json:"held,omitempty"`
	Skips    []PendingSkip   `json:"skips,omitempty"`
	Jobs     []Job           `json:"jobs,omitempty"`
	Unmapped []UnmappedTable `json:"unmapped,omitempty"`

	// IgnoredCascades and Warnings are those of Stats.
	IgnoredCascades []string       `json:"ignored_cascades,omitempty"`
	Warnings        []TableWarning `json:"warnings,omitempty"`
}

// Status returns what the node holds of its pipelines, and how they fare.
func (c *Commands) Status() NodeStatus {
	names, all := c.positions()
	role, _ := c.node().Role()
	s := NodeStatus{Role: role.String(), Pipelines: []PipelineStatus{}}
	if c.pipeline != nil && all[c.pipeline.config.Name] == nil {
		names = append(names, c.pipeline.config.Name) // the pipeline has written nothing yet
	}
	for _, name := range names {
		f := all[name]
		p := PipelineStatus{
			Name: name, Phase: f["state"], GTID: f["gtid"], File: f["file"], Offset: f["offset"],
			Server: f["server"], Time: f["time"],
			Rebuilding:  append([]string{}, listed(f["rebuilding"])...),
			Quarantined: []TableFault{}, Gaps: append([]tablestate.Gap{}, openGaps(f)...),
		}
		var stats *Stats
		if c.pipeline != nil && name == c.pipeline.config.Name {
			now := c.pipeline.Stats()
			stats = &now
			p.addStats(stats)
			p.Revision = c.pipeline.config.Revision
		} else if list, err := lettersIn(sink.Pieces(c.node().Keyspace(), name)); err == nil {
			p.DeadLetters = len(list)
		}
		p.State = visibleState(f["state"], stats, role)
		for _, table := range listed(f["quarantined"]) {
			p.Quarantined = append(p.Quarantined, faultOf(table, stats))
		}
		s.Pipelines = append(s.Pipelines, p)
	}
	return s
}

// addStats adds what only the pipeline's process knows.
func (p *PipelineStatus) addStats(s *Stats) {
	p.Stopped, p.Retrying, p.Unproved, p.Held = s.Stopped, s.Retrying, s.Unproved, s.Held
	p.Skips, p.Jobs, p.Unmapped = s.Skips, s.Jobs, s.Unmapped
	p.IgnoredCascades, p.Warnings = s.IgnoredCascades, s.Warnings
	p.DeadLetters = int(s.DeadLetters)
}

// faultOf returns a table in quarantine, with the reason if this process knows it.
func faultOf(table string, s *Stats) TableFault {
	if s != nil {
		for _, f := range s.Quarantined {
			if f.Table == table {
				return f
			}
		}
	}
	return TableFault{Table: table}
}

// CountHoles returns how many gaps and tables in quarantine the pipelines have.
func (s *NodeStatus) CountHoles() (gaps, quarantined int) {
	for i := range s.Pipelines {
		gaps += len(s.Pipelines[i].Gaps)
		quarantined += len(s.Pipelines[i].Quarantined)
	}
	return gaps, quarantined
}
