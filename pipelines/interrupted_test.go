package pipelines

import (
	"context"
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// scriptedReplays sends one script after the other; each ends with an error, like a cut connection.
type scriptedReplays struct {
	*scriptedSource
	scripts [][]*binlog.Event
}

// OpenReplay opens the next script at a position.
func (s *scriptedReplays) OpenReplay(
	_ context.Context, start source.ReplayStart,
) (source.Stream, error) {
	script := s.scripts[0]
	s.scripts = s.scripts[1:]
	passed := min(int(start.Position.Offset), len(script))
	return &scriptedSource{
		script:   script[:len(script):len(script)],
		position: binlog.Position{File: start.Position.File, Offset: uint64(passed)},
	}, nil
}

// A replay whose connection is cut finds the keys again that it has not sent yet.
func TestReplayAfterCut(t *testing.T) {
	table := intTable()
	script := append(twoRows(t, table),
		rowsEvent(t, table, binlog.Insert, [2]uint32{3, 30}),
		&binlog.Event{Kind: binlog.Commit, Time: 2000},
	)
	source := &scriptedReplays{scriptedSource: &scriptedSource{}, scripts: [][]*binlog.Event{
		twoRows(t, table), script,
	}}
	end := binlog.Position{File: "log", Offset: uint64(len(script))}
	r := &replay{
		source: source, to: end, until: end, at: binlog.Position{File: "log"},
		sent:   binlog.Position{File: "log"},
		tables: map[string]*replayTable{"shop.t": {schema: table, columns: []int{0}}},
	}
	var keys []jobs.Key
	send := func(p page) error {
		for _, f := range p.found {
			keys = append(keys, f.keys...)
		}
		return nil
	}
	if err := r.find(t.Context(), send); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	if err := r.find(t.Context(), send); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 {
		t.Errorf("the keys %q were found, want those of 3 rows", keys)
	}
}

// While --from snapshot removes the keys of tables that are gone, the data keep the evidence of
// their position.
func TestRebuildAllKeepsEvidence(t *testing.T) {
	to, _ := storedData(t)
	_, l := scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{intTable()}})
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	l.progress.Server = "scripted"
	l.history.last = binlog.Evidence{
		Time: 77, File: "log", Start: 4, FileTime: 1234, Server: "scripted",
	}
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := parseProgress("test", &state.Progress)
	if err != nil {
		t.Fatal(err)
	}
	u := intTable()
	u.Name = "u"
	_, l = scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{u}})
	l.tables = newTableSet(&l.config.Mapping)
	l.unit.Reset()
	if err := l.rebuildAll(t.Context(), state, stored); err != nil {
		t.Fatal(err)
	}
	crash := errors.New("a crash")
	to.After = func(*sink.Unit) error { return crash }
	if err := l.initialUnit(t.Context()); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	if state, err = to.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := string(state.Position.Get("evidence")); !strings.Contains(text, "time=77 ") {
		t.Errorf("the evidence is %q", text)
	}
}

// A table whose job was cancelled is not complete, so that no replacement is installed without it.
func TestCancelledTableIsIncomplete(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	m := l.tables.all["shop.t"]
	m.Job = l.reconcileJob("test")
	if err := l.cancelJob(m.Job.ID); err != nil {
		t.Fatal(err)
	}
	l.replaces, l.progress.Phase = true, sink.Streaming
	if err := l.finishReplacement(t.Context()); errors.Is(err, errReplacementComplete) {
		t.Error("the replacement counts as complete")
	}
}
