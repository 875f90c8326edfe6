package pipelines

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// The memory of a huge row is returned whatever becomes of the row: the unit of a DELETE is small.
func TestHugeRowIsRecorded(t *testing.T) {
	table := &binlog.Table{Database: "shop", Name: "t", Columns: []binlog.Column{
		{Name: "v", SQLType: "longtext", Type: binlog.TypeText, Charset: "utf8mb4"},
	}}
	row := func(size int) *binlog.Row {
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(table), [][]byte{bytes.Repeat([]byte("x"), size)})
		return r
	}
	for _, test := range []struct {
		change binlog.Change
		huge   bool
	}{
		{binlog.Change{Op: binlog.Insert, After: row(10)}, false},
		{binlog.Change{Op: binlog.Insert, After: row(hugeUnit + 1)}, true},
		{binlog.Change{Op: binlog.Update, Before: row(hugeUnit + 1), After: row(1)}, true},
		{binlog.Change{Op: binlog.Delete, Before: row(hugeUnit + 1)}, true},
	} {
		var l loop
		if l.recordSize(&test.change); l.huge != test.huge {
			t.Errorf("%v: huge is %v, want %v", test.change.Op, l.huge, test.huge)
		}
	}
}

// The loop needs no MySQL: another source and another sink take the places of both.
func TestLoopWithoutMySQL(t *testing.T) {
	for _, can := range []sink.Capabilities{
		{Atomic: true, Deltas: true},
		{Atomic: true},
		{Deltas: true},
	} {
		table := intTable()
		source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
			rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}),
			{Kind: binlog.Commit, Time: 1000},
			rowsEvent(t, table, binlog.Update, [2]uint32{1, 10}, [2]uint32{1, 11}),
			{Kind: binlog.Commit, Time: 2000},
			rowsEvent(t, table, binlog.Delete, [2]uint32{2, 20}),
			{Kind: binlog.Commit, Time: 3000},
		}}
		to := sinktest.NewMemory("test")
		to.Can = can
		p, l := scriptedPipeline(t, to, source)
		if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
			t.Fatal(err)
		}
		row, _ := to.Keys.HashFields("t:1")
		if _, found := to.Keys.HashFields("t:2"); found ||
			!maps.Equal(row, map[string]string{"id": "1", "v": "11"}) {
			t.Errorf("%+v: t:1 is %v, t:2 is there: %v", can, row, found)
		}
		units := to.Units(0)
		if len(units) != 3 {
			t.Fatalf("%+v: %d units, want 3", can, len(units))
		}
		// Only a sink that is atomic and accepts deltas gets the changed field alone.
		full := strings.Contains(units[1].Commands, "\r\nid\r\n")
		if full == (can.Atomic && can.Deltas) {
			t.Errorf("%+v: the update is written as %q", can, units[1].Commands)
		}
		at, err := to.Progress("test")
		if err != nil || string(at.Position.Get("offset")) != "6" || at.Time != 3000 {
			t.Errorf("%+v: the position is %+v, %v", can, at, err)
		}
		if s := p.Stats(); s.Rows != 4 || s.Transactions != 3 || s.Units != 3 {
			t.Errorf("%+v: stats are %+v", can, s)
		}
	}
}

// A transaction that is larger than a unit is split, and resumed after its first part.
func TestSplitWithoutMySQL(t *testing.T) {
	table := intTable()
	var images [][2]uint32
	for id := range uint32(25) {
		images = append(images, [2]uint32{id, id})
	}
	to := sinktest.NewMemory("test")
	to.Before = func(u *sink.Unit) error {
		if u.Progress.Partial == 2 {
			return errors.New("crash")
		}
		return nil
	}
	run := func() error {
		source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
			rowsEvent(t, table, binlog.Insert, images...), {Kind: binlog.Commit, Time: 1000},
		}}
		_, l := scriptedPipeline(t, to, source)
		l.config.Limits.MaxAtomicRows = 10
		l.skip = l.progress.Row
		return l.run(t.Context())
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "crash") {
		t.Fatal(err)
	}
	if at, _ := to.Progress("test"); at.Partial != 1 || at.Row != 10 {
		t.Errorf("after the crash the position is %+v", at)
	}
	to.Before = nil
	if err := run(); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	written := 0
	for _, u := range to.Units(0) {
		written += strings.Count(u.Commands, "\r\nid\r\n")
	}
	if at, _ := to.Progress("test"); written != len(images) || at.Partial != 0 || at.Row != 0 {
		t.Errorf("%d rows were written, want each once; the position is %+v", written, at)
	}
}

// A statement that removes rows without logging them removes their keys, with any source.
func TestStatementWithoutMySQL(t *testing.T) {
	table := intTable()
	source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}),
		{Kind: binlog.Commit, Time: 1000},
		{Kind: binlog.Statement, SQL: "TRUNCATE TABLE t", Database: "shop"},
		rowsEvent(t, table, binlog.Insert, [2]uint32{3, 30}),
		{Kind: binlog.Commit, Time: 2000},
	}}
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, source)
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	var keys []string
	to.Keys.Each("t:", func(key string) { keys = append(keys, key) })
	if !slices.Equal(keys, []string{"t:3"}) {
		t.Errorf("keys %q, want t:3 alone", keys)
	}
}

// A load, the end of a run, and the next run need no MySQL.
func TestRunsWithoutMySQL(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	p, _ := scriptedPipeline(t, to, new(scriptedSource))
	p.config.Source.Backfill.ChunkRows = 2
	run := func(ctx context.Context, source *scriptedSource) error {
		t.Helper()
		source.tables, source.position.File = []*binlog.Table{table}, "log"
		state, err := to.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := parseProgress("test", &state.Progress)
		if err != nil {
			t.Fatal(err)
		}
		return p.runSource(ctx, source, state, stored)
	}
	values := func() map[string]string {
		rows := make(map[string]string)
		to.Keys.Each("t:", func(key string) {
			fields, _ := to.Keys.HashFields(key)
			rows[strings.TrimPrefix(key, "t:")] = fields["v"]
		})
		return rows
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to.After = func(u *sink.Unit) error {
		if u.Progress.Phase == sink.Streaming {
			cancel()
		}
		return nil
	}
	err := run(ctx, &scriptedSource{
		images: [][2]uint32{{1, 10}, {2, 20}, {3, 30}, {4, 40}, {5, 50}},
		write: func(table *binlog.Table) []*binlog.Event {
			return []*binlog.Event{
				rowsEvent(t, table, binlog.Update, [2]uint32{2, 2}, [2]uint32{2, 20}),
				{Kind: binlog.Commit, Time: 1000},
			}
		},
		woken: make(chan struct{}, 1),
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the load ended with %v", err)
	}
	want := map[string]string{"1": "10", "2": "20", "3": "30", "4": "40", "5": "50"}
	if got := values(); !maps.Equal(got, want) {
		t.Errorf("after the load the rows are %v", got)
	}
	if s := p.Stats(); s.Loaded != 5 || s.Expected != 5 {
		t.Errorf("%d of %d rows are loaded, want 5 of 5", s.Loaded, s.Expected)
	}

	to.After = nil
	err = run(t.Context(), &scriptedSource{write: func(table *binlog.Table) []*binlog.Event {
		return []*binlog.Event{
			{Kind: binlog.Progress},
			{Kind: binlog.Progress}, // in the place of the first run's
			rowsEvent(t, table, binlog.Delete, [2]uint32{1, 10}),
			{Kind: binlog.Commit, Time: 2000},
		}
	}})
	if !errors.Is(err, errEndOfScript) {
		t.Fatalf("the next run ended with %v", err)
	}
	delete(want, "1")
	if got := values(); !maps.Equal(got, want) {
		t.Errorf("after the next run the rows are %v", got)
	}
}

// A sink that was demoted or closed is no fault of the data: the run ends without a StopError.
func TestLostSink(t *testing.T) {
	for want, lose := range map[error]func(*sinktest.Memory){
		sink.ErrDemoted: func(m *sinktest.Memory) { m.SetWritable(false) },
		sink.ErrClosed:  (*sinktest.Memory).Close,
	} {
		table := intTable()
		source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
			rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}), {Kind: binlog.Commit},
		}}
		to := sinktest.NewMemory("test")
		_, l := scriptedPipeline(t, to, source)
		lose(to)
		if err := l.run(t.Context()); !errors.Is(err, want) || errors.As(err, new(*StopError)) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	}
}
