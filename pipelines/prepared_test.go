package pipelines

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// preparedEvent returns the Commit of a step of the XA transaction "x".
func preparedEvent(step binlog.XAStep, events string) *binlog.Event {
	return &binlog.Event{Kind: binlog.Commit, XA: &binlog.XA{
		Step: step, XID: "x", Events: []byte(events),
	}}
}

// storedXA returns the pieces and blocks of XA transactions that a sink has.
func storedXA(to *sinktest.Memory) (names []string) {
	for piece := range sink.Pieces(to.Keys, "test") {
		if strings.HasPrefix(piece, tablestate.PreparedPrefix) {
			names = append(names, piece)
		}
	}
	to.Keys.Each(sink.BlockKey("test", ""), func(key string) {
		names = append(names, strings.TrimPrefix(key, sink.BlockKey("test", "")))
	})
	slices.Sort(names)
	return names
}

// The parts of an XA transaction are kept in the data until it ends. One that ends before the data
// are written is never written.
func TestPreparedState(t *testing.T) {
	to := sinktest.NewMemory("test")
	part := &binlog.Event{Kind: binlog.PreparedRows, XA: &binlog.XA{
		Step: binlog.XAPart, Events: []byte("one"),
	}}
	_, l := scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{intTable()}})
	mustApply := func(events ...*binlog.Event) {
		t.Helper()
		l.stream.(*scriptedSource).script = events
		for _, ev := range events {
			l.stream.(*scriptedSource).position.Offset++
			if err := l.handle(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	reload := func() *tableSet {
		t.Helper()
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := newTableSet(&l.config.Mapping)
		if err := s.prepared.load(state.Pieces); err != nil {
			t.Fatal(err)
		}
		s.prepared.readBlock = l.blockReader(t.Context())
		return s
	}
	flush := func() {
		t.Helper()
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	mustApply(preparedEvent(binlog.XAPrepare, "rows"), preparedEvent(binlog.XARollback, ""))
	flush()
	if got := storedXA(to); len(got) > 0 {
		t.Errorf("a transaction that has ended left %v", got)
	}

	// A part is written at once. A start before the XA PREPARE discards it.
	mustApply(part)
	if got := storedXA(to); !slices.Equal(got, []string{"xa:2", "xa:2:0"}) {
		t.Errorf("after a part the sink has %v", got)
	}
	if s := reload().prepared; len(s.byXID) > 0 || len(s.unsaved) != 1 || s.last != 2 {
		t.Errorf("a start finds %+v", s)
	}
	mustApply(preparedEvent(binlog.XAPrepare, "two"))
	flush()
	for _, s := range []*tableSet{l.tables, reload()} {
		s.prepared.readBlock = l.blockReader(t.Context())
		kept, found := s.Find("x")
		var text string
		for n := range kept.Parts {
			part, err := kept.Part(n)
			if err != nil {
				t.Fatal(err)
			}
			text += string(part) + " "
		}
		if !found || text != "one two " {
			t.Errorf("found %v, the parts are %q", found, text)
		}
	}
	damage := resp.AppendCommand(nil, "SET", sink.BlockKey("test", "xa:2:0"), "damaged block")
	if err := to.Execute(damage); err != nil {
		t.Fatal(err)
	}
	kept, _ := reload().Find("x")
	if _, err := kept.Part(0); err == nil || !strings.Contains(err.Error(), "--from snapshot") {
		t.Errorf("a corrupt block: %v", err)
	}
	mustApply(preparedEvent(binlog.XACommit, ""))
	flush()
	if got := storedXA(to); len(got) > 0 {
		t.Errorf("after the XA COMMIT the sink has %v", got)
	}
}

// Tables whose rows were not kept are read again after the XA COMMIT.
func TestLostPreparedRows(t *testing.T) {
	skipped := preparedEvent(binlog.XAPrepare, "")
	skipped.Skipped = &binlog.Skipped{Tables: []string{"shop.t"}}
	unknown := preparedEvent(binlog.XAPrepare, "")
	unknown.Skipped = &binlog.Skipped{Unknown: true}
	tooLarge := preparedEvent(binlog.XAPrepare, "")
	tooLarge.XA.TooLarge, tooLarge.XA.Missing = true, []string{"shop.t"}
	table := preparedEvent(binlog.XAPrepare, "rows")
	table.XA.Missing = []string{"shop.t"}
	other := preparedEvent(binlog.XAPrepare, "rows")
	other.XA.Missing = []string{"shop.other"}
	onePhase := preparedEvent(binlog.XACommit, "")
	onePhase.XA.XID, onePhase.XA.TooLarge, onePhase.XA.Missing = "", true, []string{"shop.t"}
	for reason, test := range map[string]struct {
		prepare *binlog.Event
		isRead  bool
	}{
		"it was skipped when it was prepared":    {skipped, true},
		"it was skipped":                         {unknown, true},
		"more than 256 MiB of rows":              {tooLarge, true},
		"more than 256 MiB":                      {onePhase, true},
		"they were skipped when it was prepared": {table, true},
		"":                                       {other, false},
	} {
		src := &scriptedSource{tables: []*binlog.Table{intTable()}}
		_, l := scriptedPipeline(t, sinktest.NewMemory("test"), src)
		m := l.tables.all["shop.t"]
		src.script = []*binlog.Event{test.prepare, preparedEvent(binlog.XACommit, "")}
		for _, ev := range src.script {
			if !m.Job.Done && test.prepare != onePhase {
				t.Errorf("%s: the table is read again before the XA COMMIT", reason)
			}
			src.position.Offset++
			if err := l.commit(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
		if m.Job.Done == test.isRead || test.isRead && !strings.Contains(m.Job.Reason, reason) {
			t.Errorf("the job after the XA COMMIT is %+v, want %q", m.Job, reason)
		}
		l.jobs.Close()
	}
}

// Rows are kept of the tables that may be followed at the XA COMMIT.
func TestKeepsRows(t *testing.T) {
	src := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), src)
	l.tables.all["shop.t"].Fault = &tablestate.Fault{Reason: "test"}
	l.tables.cascades.parents = map[ddl.TableName]*cascadeParent{
		{Database: "d", Table: "parent"}: {},
	}
	for _, test := range []struct {
		database, name string
		want           bool
	}{
		{"shop", "t", true}, {"shop", "new", true}, {"d", "parent", true}, {"d", "t", false},
	} {
		if got := l.tables.KeepsRows(test.database, test.name); got != test.want {
			t.Errorf("%s.%s: %v", test.database, test.name, got)
		}
	}
}

// A replay whose stretch has an XA COMMIT without its XA PREPARE reads all tables as a whole.
func TestReplayXA(t *testing.T) {
	src := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), src)
	prepare, commit := preparedEvent(binlog.XAPrepare, ""), preparedEvent(binlog.XACommit, "")
	rollback := preparedEvent(binlog.XARollback, "")
	for _, test := range []struct {
		script  []*binlog.Event
		isWhole bool
	}{
		{[]*binlog.Event{prepare, commit}, false},
		{[]*binlog.Event{rollback, commit}, true},
		{[]*binlog.Event{{Kind: binlog.Commit}, rollback, commit}, false}, // after the stretch
	} {
		src.again = test.script
		r := replayOf(t, l, uint64(len(test.script)))
		whole := make(map[string]string)
		err := r.find(t.Context(), func(p page) error {
			maps.Copy(whole, p.whole)
			return nil
		})
		if err != nil || (whole["shop.t"] != "") != test.isWhole {
			t.Errorf("the tables %v are read as a whole, %v", whole, err)
		}
	}
}
