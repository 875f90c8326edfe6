package pipelines

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/internal/memfs"
	"rowfall/pipelines/file"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// servedNode is a node on a file system in memory.
type servedNode struct {
	*replication.Node
	done chan error // of Run
}

func (n *servedNode) stop() {
	_ = n.Close() // a fault that the test has injected
	<-n.done
}

// serveNode opens the node of a directory on volume. In the system's file system, dir holds only
// the lock.
func serveNode(t *testing.T, dir string, volume *memfs.FS) *servedNode {
	t.Helper()
	opened, err := replication.Open(replication.Config{
		Listen: "127.0.0.1:0", Dir: dir, FS: volume, Logger: zerolog.Nop(),
		HiddenPrefix: sink.HiddenPrefix,
		Log: replog.Config{
			Memory: 64 << 10, SegmentSize: 16 << 10, Fsync: replog.Never, Reserve: -1,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &servedNode{opened, make(chan error, 1)}
	go func() { n.done <- opened.Run(context.Background()) }()
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func (n *servedNode) apply(t *testing.T, command ...string) {
	t.Helper()
	_, term := n.Role()
	if _, err := n.Apply(t.Context(), term, resp.AppendCommand(nil, command...)); err != nil {
		t.Fatal(err)
	}
}

// replacingPipeline returns a pipeline of scriptedSources that replaces the data of a node.
func replacingPipeline(t *testing.T, n *servedNode) (*Pipeline, *sink.Node) {
	t.Helper()
	config := file.Defaults()
	config.Path, config.Name = "test.yaml", "test"
	config.Mapping = transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*"}}}
	config.Source.Backfill.ChunkRows = 2
	to := sink.NewNode(n.Node, "test")
	return New(config, to, FromReplace, zerolog.Nop()), to
}

// loadSource returns a source with five rows, whose stream is idle.
func loadSource() *scriptedSource {
	s := &scriptedSource{
		tables:   []*binlog.Table{intTable()},
		images:   [][2]uint32{{1, 10}, {2, 20}, {3, 30}, {4, 40}, {5, 50}},
		position: binlog.Position{File: "log"},
		write: func(*binlog.Table) []*binlog.Event {
			return []*binlog.Event{{Kind: binlog.Progress}}
		},
		woken: make(chan struct{}, 1),
	}
	s.Wake() // a run that continues gets a first event, too
	return s
}

// isReplaced reports whether the node has the rows of loadSource. It must have these or the old
// data, each as a whole.
func isReplaced(t *testing.T, n *servedNode) bool {
	t.Helper()
	keys := n.Keyspace()
	if _, ok := keys.HashFields(sink.PositionKey("test")); !ok {
		v, _ := keys.Get("mine")
		if fields, _ := keys.HashFields("t:1"); string(v) != "old" || fields["v"] != "old" ||
			keys.Len() != 2 || !n.Status().Complete {
			t.Errorf("the old data are %q, %v and %d keys", v, fields, keys.Len())
		}
		return false
	}
	for i := 1; i <= 5; i++ {
		if fields, _ := keys.HashFields(fmt.Sprint("t:", i)); fields["v"] != fmt.Sprint(10*i) {
			t.Errorf("row %d is %v", i, fields)
		}
	}
	state, err := sink.NewNode(n.Node, "test").Load(t.Context())
	if err != nil || state.Phase != sink.Streaming || keys.Len() != 6 || n.HasReplacement() ||
		!n.Status().Complete {
		t.Errorf("%d keys in state %v: %v", keys.Len(), state.Phase, err)
	}
	return true
}

// fillOld writes the old data: keys that no pipeline has written.
func fillOld(t *testing.T, n *servedNode) {
	t.Helper()
	n.SetComplete(true)
	n.apply(t, "SET", "mine", "old")
	n.apply(t, "HSET", "t:1", "v", "old")
}

// The data are built beside the old ones. Status shows how far they are, and the old data serve.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	n := serveNode(t, dir, memfs.New())
	fillOld(t, n)
	p, to := replacingPipeline(t, n)
	if s := p.Stats(); s.Replacement != nil {
		t.Errorf("before the start: %+v", s.Replacement)
	}
	source := loadSource()
	shown := make(chan *ReplacementProgress, 1)
	source.write = func(*binlog.Table) []*binlog.Event {
		shown <- p.Stats().Replacement
		if isReplaced(t, n) {
			t.Error("the data were replaced before the load")
		}
		return []*binlog.Event{{Kind: binlog.Progress}}
	}
	id := n.Status().ID
	if err := p.replaceFrom(t.Context(), to, source); err != nil {
		t.Fatal(err)
	}
	if r := <-shown; r == nil || r.State != "starting" {
		t.Errorf("at the start: %+v", r)
	}
	if !isReplaced(t, n) || n.Status().ID == id {
		t.Errorf("not replaced: %+v", n.Status())
	}
	if s := p.Stats(); s.Replacement != nil || s.Loaded != 5 || p.from != "" {
		t.Errorf("at the end --from %q, %+v", p.from, s)
	}

	// The next run follows the source with the new data, as after any restart.
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := parseProgress("test", &state.Progress)
	if err != nil {
		t.Fatal(err)
	}
	source = loadSource()
	source.woken = nil
	if err := p.runSource(
		t.Context(), source, state, stored,
	); !errors.Is(err, errEndOfScript) {
		t.Errorf("the next run ended with %v", err)
	}
}

// Each file operation fails, and then the process is killed or the power is cut. The next start has
// the old data or the new data, and another run with --replace completes the replacement.
func TestReplaceKilledAtEveryStep(t *testing.T) {
	dir := t.TempDir()
	base := memfs.New()
	n := serveNode(t, dir, base)
	fillOld(t, n)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.stop()
	for step, done := 1, false; !done; step++ {
		volume := base.Copy()
		n := serveNode(t, dir, volume)
		p, to := replacingPipeline(t, n)
		volume.FailAt(step, nil)
		err := p.replaceFrom(t.Context(), to, loadSource())
		done = !volume.Failed()
		if done != (err == nil) && step < 50 || done && step < 100 {
			t.Errorf("step %d: %v", step, err)
		}
		left := []*memfs.FS{
			volume.Copy(), volume.PowerCut(rand.New(rand.NewPCG(uint64(step), 1))),
			volume.PowerCut(rand.New(rand.NewPCG(uint64(step), 2))),
		}
		n.stop()
		for i, volume := range left {
			n := serveNode(t, dir, volume)
			if replaced := isReplaced(t, n); done && !replaced {
				t.Errorf("left %d: the new data are gone", i)
			} else if !replaced {
				p, to := replacingPipeline(t, n)
				if err := p.replaceFrom(t.Context(), to, loadSource()); err != nil {
					t.Error(err)
				}
				if !isReplaced(t, n) {
					t.Error("the next run has not replaced the data")
				}
			}
			n.stop()
			if t.Failed() {
				t.Fatalf("step %d, left %d: %q", step, i, volume.Names(dir))
			}
		}
	}
}

// A run without --replace keeps an unfinished replacement while it cannot follow its source, and
// its error shows how to continue. Once it follows, the replacement is discarded.
func TestReplaceGivenUp(t *testing.T) {
	n := serveNode(t, t.TempDir(), memfs.New())
	fillOld(t, n)
	p, to := replacingPipeline(t, n)
	source := loadSource()
	ctx, cancel := context.WithCancel(t.Context())
	source.write = func(*binlog.Table) []*binlog.Event {
		cancel()
		return nil
	}
	if err := p.replaceFrom(ctx, to, source); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	// The first unit of the replacement is missing, but its directory is there.
	p.from = ""
	err := p.withReplacement(stop("the data are of another mapping"))
	if err == nil || !strings.Contains(err.Error(), "--from snapshot --replace continues") {
		t.Errorf("the error is %v", err)
	}
	if err := p.withReplacement(errEndOfScript); !errors.Is(err, errEndOfScript) {
		t.Errorf("another error became %v", err)
	}

	n.apply(t, "DEL", "mine", "t:1") // the node is empty now, so that a plain run can start
	source = loadSource()
	source.woken = nil
	if err := p.runSource(
		t.Context(), source, sink.State{}, progress{},
	); !errors.Is(err, errEndOfScript) {
		t.Fatalf("the plain run ended with %v", err)
	}
	if n.HasReplacement() {
		t.Error("the replacement is still there")
	}
}

// begunReplacement begins a replacement with the mapping of p.
func begunReplacement(t *testing.T, p *Pipeline, to *sink.Node) {
	t.Helper()
	r, state, _, err := p.openReplacement(t.Context(), to)
	if err != nil || state.Phase != sink.Empty {
		t.Fatalf("%v, %v", state.Phase, err)
	}
	u := sink.Unit{Progress: sink.Progress{
		Phase: sink.Snapshot, Server: "scripted",
		Position: formatPosition(nil, &binlog.Position{File: "log", Offset: 1}, nil),
	}}
	if err := saveMapping(&u, "test", &p.config.Mapping); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
}

// A replacement of another mapping is not continued.
func TestReplaceWithAnotherMapping(t *testing.T) {
	n := serveNode(t, t.TempDir(), memfs.New())
	fillOld(t, n)
	p, to := replacingPipeline(t, n)
	p.config.Mapping.Tables[0].Where = "id > 0"
	begunReplacement(t, p, to)
	_, state, _, err := p.openReplacement(t.Context(), to)
	if err != nil || state.Phase != sink.Snapshot {
		t.Errorf("continued: %v, %v", state.Phase, err)
	}
	p.config.Mapping.Tables[0].Where = ""
	if _, state, _, err = p.openReplacement(t.Context(), to); err != nil ||
		state.Phase != sink.Empty {
		t.Errorf("with another mapping: %v, %v", state.Phase, err)
	}
	if err := p.replaceFrom(t.Context(), to, loadSource()); err != nil || !isReplaced(t, n) {
		t.Errorf("ended with %v", err)
	}
}

// resetSource is a source that has another history than the data.
type resetSource struct{ *scriptedSource }

func (resetSource) OpenStream(context.Context, source.StreamStart) (source.Stream, error) {
	return nil, &binlog.HistoryError{}
}

// A replacement whose source was reset meanwhile is discarded, and the old data serve. Only if the
// file says so, a new replacement begins: the server may be the wrong one, or blank.
func TestReplaceAfterReset(t *testing.T) {
	for _, stops := range []bool{true, false} {
		n := serveNode(t, t.TempDir(), memfs.New())
		fillOld(t, n)
		p, to := replacingPipeline(t, n)
		p.config.Source.StopAtReset = stops
		begunReplacement(t, p, to)
		err := p.replaceFrom(t.Context(), to, resetSource{loadSource()})
		if stopped := errors.As(err, new(*StopError)); err == nil || stopped != stops {
			t.Errorf("ended with %v", err)
		}
		if n.HasReplacement() || (p.from == "") != stops || isReplaced(t, n) {
			t.Errorf("the replacement is there: %v, --from %q", n.HasReplacement(), p.from)
		}
		n.stop()
	}
}

// A replacement that lacks a table does not take the place of data that have it.
func TestReplaceWaitsForQuarantine(t *testing.T) {
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	p, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	if _, err := l.sink.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.finishReplacement(t.Context()); err != nil {
		t.Errorf("an ordinary run ends with %v", err)
	}
	l.replaces = true
	p.stats.beginReplacement()
	for _, table := range l.tables.all {
		table.Fault = &tablestate.Fault{Reason: "a test"}
	}
	l.tablesChanged()
	if err := l.finishReplacement(t.Context()); err != nil {
		t.Errorf("with a table in quarantine it ends with %v", err)
	}
	if r := p.Stats().Replacement; r == nil || r.State != "waiting for tables in quarantine" ||
		r.Percent() == 100 || r.Since.After(time.Now()) {
		t.Errorf("status shows %+v", r)
	}
	for _, table := range l.tables.all {
		table.Fault = nil
	}
	l.tablesChanged()
	if err := l.finishReplacement(t.Context()); !errors.Is(err, errReplacementComplete) {
		t.Errorf("with all tables it ends with %v", err)
	}
	if r := p.Stats().Replacement; r == nil || r.Percent() != 100 {
		t.Errorf("status shows %+v", r)
	}
}
