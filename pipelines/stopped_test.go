package pipelines

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// The cancellation of a job of a pipeline that does not run makes the gap that a running one makes:
// with its end, and visible in the position hash.
func TestCancelStoppedMakesGap(t *testing.T) {
	to := sinktest.NewMemory("test")
	p, l := scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{intTable()}})
	m := l.tables.all["shop.t"]
	m.Job = tablestate.Job{
		ID: 1, Reason: "test", Compare: true, Sweep: &tablestate.Sweep{}, MissedFrom: "log:1",
	}
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	if err := m.save(&l.unit, "test"); err != nil {
		t.Fatal(err)
	}
	l.progress.Position = binlog.Position{File: "log", Offset: 7}
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unit, err := p.changeState(&state, func(l *loop, _ *progress) error { return l.cancelJob(1) })
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(state.Position)
	if err := to.Apply(t.Context(), unit); err != nil {
		t.Fatal(err)
	}
	if state, err = to.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	gaps, err := tablestate.DecodeGaps(state.Pieces[tablestate.GapsPiece])
	if err != nil || len(gaps.Open) != 1 || gaps.Open[0].From != "log:1" ||
		gaps.Open[0].To != "log:7" {
		t.Errorf("the gaps are %+v, %v", gaps, err)
	}
	if !strings.Contains(state.Gaps, `"to":"log:7"`) ||
		state.Rebuilding != `["shop.t"]` || fmt.Sprint(state.Position) != before {
		t.Errorf("the progress is %+v", state.Progress)
	}
}
