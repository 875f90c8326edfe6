package pipelines

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// addSearch is a request that adds a search.
func addSearch(s *tablestate.Search) request {
	return request{
		execute: func(_ context.Context, l *loop) error {
			_, err := l.addSearch(s)
			return err
		},
		result: make(chan error, 1),
	}
}

// A search reads the rows that a condition selects, and no others, and leaves nothing in the state.
// A search that was stored before is continued by the next run.
func TestConditionSearch(t *testing.T) {
	for _, isStored := range []bool{false, true} {
		table := intTable()
		to := sinktest.NewMemory("test")
		source := &scriptedSource{
			tables: []*binlog.Table{table}, script: twoRows(t, table),
			images: [][2]uint32{{1, 5}, {2, 6}, {3, 5}}, woken: make(chan struct{}, 1),
		}
		p, l := scriptedPipeline(t, to, source)
		l.progress.Server = "scripted"
		s := &tablestate.Search{Table: "shop.t", Where: "5", Reason: "test"}
		if isStored {
			if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
				t.Fatal(err)
			}
			s.After = [][]byte{[]byte("1")}
			source.woken = nil
			p.requests <- addSearch(s)
			p.requests <- request{
				execute: func(context.Context, *loop) error { return errors.New("a crash") },
				result:  make(chan error, 1),
			}
			l.search = new(searchRun) // none is started
			if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
				t.Fatal(err)
			}
			l.jobs.Close()
			state, err := to.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			source.tables, source.script, source.woken = nil, nil, make(chan struct{}, 1)
			source.position.Offset = 0
			_, l = scriptedPipeline(t, to, source)
			source.tables = []*binlog.Table{table}
			if err := l.resume(state, l.progress); err != nil {
				t.Fatal(err)
			}
			if l.lastJob != 1 {
				t.Errorf("the last job is %d", l.lastJob)
			}
			source.woken <- struct{}{}
		} else {
			p.requests <- addSearch(s)
		}
		m := l.tables.all["shop.t"]
		runUntil(t, l, to, func() bool {
			_, found := to.Keys.HashFields("t:3")
			return found && m.Keys == nil && len(l.tables.searches) == 0
		})
		l.search.close()
		one, _ := to.Keys.HashFields("t:1")
		two, _ := to.Keys.HashFields("t:2")
		if (one["v"] == "5") == isStored || two["v"] != "20" {
			t.Errorf("stored %v: row 1 is %v, row 2 %v", isStored, one, two)
		}
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name := range state.Pieces {
			if strings.HasPrefix(name, tablestate.SearchPrefix) {
				t.Errorf("stored %v: piece %s is left", isStored, name)
			}
		}
	}
}

// failingKeys is a source of keys whose reads fail.
type failingKeys struct {
	*scriptedSource
	err error
}

func (f failingKeys) OpenReplay(context.Context, source.ReplayStart) (source.Stream, error) {
	return nil, f.err
}

// A search that fails for good is listed with the error until it is cancelled.
func TestFailedSearch(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	source := &scriptedSource{
		tables: []*binlog.Table{table}, script: twoRows(t, table), woken: make(chan struct{}, 1),
	}
	p, l := scriptedPipeline(t, to, source)
	l.keys = failingKeys{source, &mysql.ServerError{Code: 1236, Message: "binlog is gone"}}
	l.stream = source
	source.position.Offset = 0
	p.requests <- request{
		execute: func(_ context.Context, l *loop) error {
			from, end := binlog.Position{File: "log", Offset: 1}, binlog.Position{}
			until := *l.stream.Position()
			_, err := l.addReplay(&tablestate.Search{Server: "scripted"}, &from, &end, until)
			return err
		},
		result: make(chan error, 1),
	}
	runUntil(t, l, to, func() bool {
		list := l.tables.jobList()
		return len(list) == 1 && strings.Contains(list[0].State, "binlog is gone")
	})
	if err := l.cancelJob(l.tables.searches[0].ID); err != nil || len(l.tables.jobList()) > 0 {
		t.Errorf("cancel: %v, then %+v", err, l.tables.jobList())
	}
}

// A replay finds the rows of its stretch, by old and new images. A statement about a table, in the
// stretch or after it, makes the table read as a whole, and so does a table map that does not fit.
func TestReplayFinds(t *testing.T) {
	table := intTable()
	type events = []*binlog.Event
	update := func() *binlog.Event {
		return rowsEvent(t, table, binlog.Update, [2]uint32{1, 1}, [2]uint32{2, 1})
	}
	insert := func() *binlog.Event {
		return rowsEvent(t, table, binlog.Insert, [2]uint32{3, 1}, [2]uint32{1, 2})
	}
	later := rowsEvent(t, table, binlog.Insert, [2]uint32{9, 1})
	commit := &binlog.Event{Kind: binlog.Commit}
	statement := func(sql string) *binlog.Event {
		return &binlog.Event{Kind: binlog.Statement, Database: "shop", SQL: sql}
	}
	for _, c := range []struct {
		what   string
		script []*binlog.Event
		to     uint64
		keys   []string
		whole  bool
	}{
		{"rows", events{update(), commit, insert(), commit}, 4, []string{"1", "2", "3"}, false},
		{"later rows", events{update(), commit, later, commit}, 2, []string{"1", "2"}, false},
		{
			"other statements",
			events{
				statement("CREATE TABLE other (id INT)"),
				statement("CREATE VIEW w AS SELECT * FROM t"), insert(), commit,
			},
			4,
			[]string{"1", "3"},
			false,
		},
		{
			"an ALTER after the stretch",
			events{insert(), commit, statement("ALTER TABLE t ADD COLUMN w INT FIRST")},
			2, nil, true,
		},
		{"a DROP DATABASE", events{statement("DROP DATABASE shop")}, 1, nil, true},
		{
			"a TRUNCATE",
			events{statement("TRUNCATE TABLE shop.t"), insert(), commit},
			3, nil, true,
		},
	} {
		source := &scriptedSource{again: c.script}
		r := &replay{
			source: source, to: binlog.Position{File: "log", Offset: c.to},
			at:     binlog.Position{File: "log"},
			until:  binlog.Position{File: "log", Offset: uint64(len(c.script))},
			tables: map[string]*replayTable{"shop.t": {table, []int{0}, false}},
		}
		found, whole := make(map[string]bool), false
		var stored tablestate.Search
		err := r.find(t.Context(), func(p page) error {
			for _, f := range p.found {
				for _, key := range f.keys {
					found[string(key[0])] = true
				}
			}
			whole = whole || p.whole["shop.t"] != ""
			return p.advance(&stored)
		})
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(found))
		if whole != c.whole || !whole && !slices.Equal(keys, c.keys) {
			t.Errorf("%s: keys %v, whole %v", c.what, keys, whole)
		}
		at, err := tablestate.DecodePosition(stored.At)
		if err != nil || at.Offset != uint64(len(c.script)) {
			t.Errorf("%s: the replay ends at %s, %v", c.what, at, err)
		}
	}
	r := &replay{tables: map[string]*replayTable{"shop.t": {table, []int{0}, false}}}
	r.reset()
	if err := r.Mismatch(table, errors.New("3 columns")); err != nil || r.whole["shop.t"] == "" {
		t.Errorf("a table map that does not fit: %v, %v", err, r.whole)
	}
}
