package pipelines

import (
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// A request can name several tables, and a later one adds further tables to it. Each table is
// stored once.
func TestSkipRequestOfSeveralTables(t *testing.T) {
	id, err := binlog.ParseTransactionID("log:50")
	if err != nil {
		t.Fatal(err)
	}
	at := progress{Position: binlog.Position{File: "log", Offset: 4}}
	var list []tablestate.SkipRequest
	for _, test := range []struct{ tables, want []string }{
		{[]string{"shop.x", "shop.y", "shop.x"}, []string{"shop.x", "shop.y"}},
		{[]string{"shop.y", "shop.z"}, []string{"shop.x", "shop.y", "shop.z"}},
		{nil, nil},
		{[]string{"shop.x"}, nil},
	} {
		list, err = addSkip(list, &skipCall{at: id, tables: test.tables}, &at, 0)
		if err != nil || len(list) != 1 || !slices.Equal(list[0].Tables, test.want) {
			t.Errorf("after a request for %q: %+v, %v", test.tables, list, err)
		}
	}
}

// A request for a further table of a transaction that was stepped over makes a gap of that table,
// while the first gap is open. Later deltas of the table are not written: rows may be missing.
func TestSkipOfFurtherTable(t *testing.T) {
	id, err := binlog.ParseTransactionID("log:50")
	if err != nil {
		t.Fatal(err)
	}
	other := intTable()
	other.Name = "u"
	for _, isStopped := range []bool{false, true} {
		source := &scriptedSource{tables: []*binlog.Table{intTable(), other}}
		source.position = binlog.Position{File: "log", Offset: 60}
		to := sinktest.NewMemory("test")
		p, l := scriptedPipeline(t, to, source)
		if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
			t.Fatal(err)
		}
		l.progress.Position = source.position
		err := l.makeGap(tablestate.Gap{
			Cause: tablestate.CauseSkip, At: "log:50", From: "log:50", To: "log:55",
		}, []string{"shop.t"})
		if err != nil {
			t.Fatal(err)
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
		for range 2 { // the second request changes nothing
			c := skipCall{at: id, tables: []string{"shop.t", "shop.u"}, result: make(chan error, 1)}
			if isStopped {
				err = p.storeSkip(t.Context(), &c, &state, &stored)
			} else {
				p.skipCalls <- c
				err = l.handleSkips(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if isStopped && !strings.Contains(stored.Gaps, "shop.u") {
			t.Errorf("the run would begin with the gaps %s", stored.Gaps)
		}
		if state, err = to.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		gaps, err := tablestate.DecodeGaps(state.Pieces[tablestate.GapsPiece])
		if err != nil || len(gaps.Open) != 2 {
			t.Fatalf("stopped %v: the gaps are %+v, %v", isStopped, gaps, err)
		}
		if g := gaps.Open[1]; g.ID != 2 || g.At != "log:50" || g.From != "log:50" ||
			g.To != "log:55" || !slices.Equal(g.Tables, []string{"shop.u"}) {
			t.Errorf("stopped %v: the gap is %+v", isStopped, g)
		}
		if job := state.Pieces[tablestate.JobPrefix+"shop.u"]; strings.Contains(
			string(job), `"done":true`) || !strings.Contains(state.Gaps, "shop.u") {
			t.Errorf("stopped %v: the job is %s, the gaps %s", isStopped, job, state.Gaps)
		}
		if len(state.Pieces[tablestate.SkipsPiece]) > 0 {
			t.Errorf("stopped %v: a request is stored", isStopped)
		}
	}
}
