package pipelines

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/sink"
)

// progress is a sink.Progress with the position as the source understands it. The fields are those
// of sink.Progress.
type progress struct {
	Position     binlog.Position
	Server       string
	Time         int64
	Phase        sink.Phase
	Partial, Row int
	// Rebuilding and Quarantined are set by tablesChanged.
	Rebuilding, Quarantined, Gaps string
}

// parseProgress returns the progress of a pipeline's data.
func parseProgress(pipeline string, stored *sink.Progress) (progress, error) {
	if stored.Phase == sink.Empty {
		return progress{}, nil
	}
	position, err := ParsePosition(stored.Position)
	if err != nil {
		return progress{}, fmt.Errorf("read %s: %w; this key is Rowfall's own: "+
			"start again with --from snapshot --replace", sink.PositionKey(pipeline), err)
	}
	return progress{
		Position: position, Server: stored.Server, Time: stored.Time, Phase: stored.Phase,
		Partial: stored.Partial, Row: stored.Row, Gaps: stored.Gaps,
	}, nil
}

// store copies p into the progress of a unit, and reuses the memory of that unit's position.
// evidence is what history.save returned.
func (p *progress) store(in *sink.Progress, evidence []byte) {
	*in = sink.Progress{
		Position: formatPosition(in.Position, &p.Position, evidence),
		Server:   p.Server, Time: p.Time, Phase: p.Phase, Partial: p.Partial, Row: p.Row,
		Rebuilding: p.Rebuilding, Quarantined: p.Quarantined, Gaps: p.Gaps,
	}
}
