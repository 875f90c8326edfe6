package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// A transaction that a user has asked to skip is left out, and makes a gap in the unit that moves
// the position. Later rows of its tables are written in full: the skipped rows may be missing.
func TestSkipWithoutMySQL(t *testing.T) {
	for _, tables := range [][]string{nil, {"shop.t"}} {
		d := loadScripted(t)
		if err := d.skip("log:50", tables...); err != nil {
			t.Fatal(err)
		}
		if got := d.piece(tablestate.SkipsPiece); !strings.Contains(got, `"at":"log:50"`) {
			t.Fatalf("the stored requests are %s", got)
		}
		if err := d.run(t.Context(), d.script()); !errors.Is(err, errEndOfScript) {
			t.Fatal(err)
		}
		if d.row("2") == "none" || d.row("4") != "none" || d.row("3") != "map[id:3 v:31]" {
			t.Errorf("the rows are %s, %s, %s", d.row("2"), d.row("3"), d.row("4"))
		}
		gaps := d.gaps()
		if len(gaps) != 1 || gaps[0].ID != 1 || gaps[0].Cause != "skip" || gaps[0].Time == 0 ||
			gaps[0].At != "log:50" || gaps[0].From != "log:2" || gaps[0].To != "log:4" ||
			!slices.Equal(gaps[0].Tables, []string{"shop.t"}) {
			t.Errorf("the gaps are %+v", gaps)
		}
		if got := d.piece(tablestate.SkipsPiece); got != "" {
			t.Errorf("the request is still stored: %s", got)
		}
		if s := d.p.Stats(); len(s.Gaps) != 1 || len(s.Skips) != 0 {
			t.Errorf("status shows %+v, %+v", s.Gaps, s.Skips)
		}
		// In no unit the position is past the transaction without the gap.
		for _, u := range d.to.Units(0) {
			at, err := ParsePosition(u.Progress.Position)
			if err != nil {
				t.Fatal(err)
			}
			if (at.Offset >= 4) != (u.Progress.Gaps != "") {
				t.Errorf("at %s the gaps are %q", at, u.Progress.Gaps)
			}
		}
	}
}

// A job that reads the whole table, and that began after the gap, closes it.
func TestBackfillClosesGap(t *testing.T) {
	d := loadScripted(t)
	if err := d.skip("log:50"); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t.Context(), d.script()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	d.p.requests <- request{
		execute: func(_ context.Context, l *loop) error {
			return l.backfill(ddl.TableName{Database: "shop", Table: "t"})
		},
		result: make(chan error, 1),
	}
	isOpen := true
	d.runUntil(&scriptedSource{
		script: make([]*binlog.Event, 6), images: [][2]uint32{{1, 10}, {2, 20}, {3, 31}, {4, 40}},
	}, func(u *sink.Unit) bool {
		wasOpen := isOpen
		isOpen = u.Progress.Gaps != ""
		return wasOpen && !isOpen
	})
	if d.row("4") != "map[id:4 v:40]" || len(d.gaps()) != 0 || len(d.p.Stats().Gaps) != 0 {
		t.Errorf("after the job the row is %s, the gaps %+v", d.row("4"), d.gaps())
	}
	if got := d.piece(tablestate.GapsPiece); got != `{"last":1}` {
		t.Errorf("the stored gaps are %s", got)
	}
}

// A job that began before the gap does not close it, and the table is not complete afterwards.
func TestJobFromBeforeTheGap(t *testing.T) {
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	m := l.tables.all["shop.t"]
	m.Job = l.reconcileJob("test")
	err := l.makeGap(tablestate.Gap{Cause: tablestate.CauseSkip}, []string{"shop.t"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Job.Done || m.Job.Skipped {
		t.Fatalf("the gap ends the job: %+v", m.Job)
	}
	m.Job.Done = true
	if err := l.SaveJob(&m.Table); err != nil {
		t.Fatal(err)
	}
	if !m.Job.Skipped || m.Job.Done || len(l.gaps.Open) != 1 {
		t.Errorf("the job is %+v, the gaps %+v", m.Job, l.gaps)
	}
	if mode := l.writeMode(m); mode == transform.Delta {
		t.Error("deltas are written although a row may be missing")
	}
	m.Job = l.reconcileJob("test")
	m.Job.Done = true
	if err := l.SaveJob(&m.Table); err != nil {
		t.Fatal(err)
	}
	if !m.Job.Done || len(l.gaps.Open) != 0 || l.progress.Gaps != "" {
		t.Errorf("after the next job: %+v, the gaps %+v", m.Job, l.gaps)
	}
}

// A table that is dropped or truncated has no gap any more.
func TestGapOfRemovedTable(t *testing.T) {
	for _, sql := range []string{"DROP TABLE t", "TRUNCATE TABLE t"} {
		source := &scriptedSource{tables: []*binlog.Table{intTable()}, script: []*binlog.Event{
			{Kind: binlog.Progress}, {Kind: binlog.Statement, SQL: sql, Database: "shop"},
		}}
		to := sinktest.NewMemory("test")
		_, l := scriptedPipeline(t, to, source)
		if err := l.makeGap(tablestate.Gap{From: "a", To: "b"}, []string{"shop.t"}); err != nil {
			t.Fatal(err)
		}
		if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
			t.Fatal(err)
		}
		if at, err := to.Progress("test"); err != nil || at.Gaps != "" || len(l.gaps.Open) > 0 {
			t.Errorf("%s: the gaps are %q, %v", sql, at.Gaps, err)
		}
	}
}

// Nothing that cannot be reached any more is stored.
func TestRejectedSkips(t *testing.T) {
	d := loadScripted(t)
	if err := d.run(t.Context(), d.script()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at     string
		tables []string
		want   string
	}{
		{"log:5", nil, "include this transaction already"},
		{
			"log:5",
			[]string{"shop.t"},
			"run rowfall backfill FILE --table shop.t",
		},
		{"log:50", []string{"shop.t", "shop.x"}, `table "shop.x" is not mapped`},
		{"log:50", []string{""}, `table "" is not mapped`},
		{"gtid:0-1-7", nil, "the data have no GTIDs"},
		{"other.000001:50", nil, "files are named like log"},
	} {
		err := d.skip(test.at, test.tables...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("skip %s %s: %v, want %q", test.at, test.tables, err, test.want)
		}
	}
	gtids, err := binlog.ParsePosition("gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:5": "include this transaction already",
		"gtid:0-1-7": "have another form",
		"log:50":     "have only GTIDs",
	} {
		id, err := binlog.ParseTransactionID(at)
		if err != nil {
			t.Fatal(err)
		}
		c := skipCall{at: id}
		if _, err := addSkip(nil, &c, &progress{Position: gtids}, 0); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("skip %s: %v, want %q", at, err, want)
		}
	}
	if got := d.piece(tablestate.SkipsPiece); got != "" {
		t.Errorf("the stored requests are %s", got)
	}
}

// A request that no transaction matches is dropped once the position is past it. A place in the
// binlog of another server is dropped at the start.
func TestVoidSkips(t *testing.T) {
	d := loadScripted(t)
	if err := d.skip("log:4"); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t.Context(), d.script()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	if got := d.piece(tablestate.SkipsPiece); got != "" || len(d.gaps()) != 0 {
		t.Errorf("the stored requests are %s, the gaps %+v", got, d.gaps())
	}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), new(scriptedSource))
	l.progress.Server = "new"
	text := []byte(`[{"at":"log:50","server":"old"},{"at":"log:60","server":"new"}]`)
	if err := l.loadSkips(map[string][]byte{tablestate.SkipsPiece: text}); err != nil {
		t.Fatal(err)
	}
	if len(l.skips) != 1 || l.skips[0].At != "log:60" {
		t.Errorf("the requests are %+v", l.skips)
	}
}

// The request of a transaction of which the sink holds a part leaves that part, and the next
// transaction is complete.
func TestSkipSplit(t *testing.T) {
	for _, tables := range [][]string{nil, {"shop.t"}} {
		d := loadScripted(t)
		d.p.config.Limits.MaxAtomicRows = 1
		d.to.Before = func(u *sink.Unit) error {
			if u.Progress.Partial == 2 {
				return errors.New("crash")
			}
			return nil
		}
		err := d.run(t.Context(), d.script())
		if err == nil || !strings.Contains(err.Error(), "crash") {
			t.Fatal(err)
		}
		d.to.Before = nil
		if at, err := d.to.Progress("test"); err != nil || at.Partial != 1 {
			t.Fatalf("the position is %+v, %v", at, err)
		}
		if err := d.skip("log:50", tables...); err != nil {
			t.Fatal(err)
		}
		if err := d.run(t.Context(), d.script()); !errors.Is(err, errEndOfScript) {
			t.Fatal(err)
		}
		at, err := d.to.Progress("test")
		if err != nil || at.Partial != 0 || at.Row != 0 || len(d.gaps()) != 1 {
			t.Errorf("the position is %+v, %v", at, err)
		}
		if d.row("3") != "map[id:3 v:31]" || d.row("4") != "none" {
			t.Errorf("the rows are %s and %s", d.row("3"), d.row("4"))
		}
	}
}

// A transaction with a GTID can be skipped although it cannot be read to its end: the stream is
// opened again after it. An error that may be of the connection must occur twice.
func TestSkipUnreadable(t *testing.T) {
	for _, test := range []struct {
		unreadable error
		runs       int
	}{
		{errors.New("the event is damaged"), 2},
		{&binlog.RefusedError{Err: errors.New("it is not known")}, 1},
	} {
		testSkipUnreadable(t, test.unreadable, test.runs, false)
	}
	// The error may come before anything else that the run can read.
	testSkipUnreadable(t, &binlog.RefusedError{Err: errors.New("it is too large")}, 1, true)
}

// A run that has ended elsewhere separates two runs that have ended in a transaction to skip. So
// they do not show that the transaction cannot be read.
func TestCutsNotInSuccession(t *testing.T) {
	id, err := binlog.ParseTransactionID("gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:7")
	if err != nil {
		t.Fatal(err)
	}
	table := intTable()
	script := []*binlog.Event{
		{Kind: binlog.Progress},
		rowsEvent(t, table, binlog.Insert, [2]uint32{2, 20}),
		{Kind: binlog.Commit},
	}
	errCut := errors.New("the connection was cut")
	p, l := scriptedPipeline(t, sinktest.NewMemory("test"), &scriptedSource{
		tables: []*binlog.Table{table},
	})
	tables, at := l.tables, l.progress
	for run, sent := range []int{len(script), 1, len(script)} {
		source := &scriptedSource{
			script:       script[:sent],
			transactions: map[int]binlog.Evidence{1: {GTID: id.GTID}, 2: {GTID: id.GTID}},
			unreadable:   errCut,
		}
		l := p.newLoop(source)
		l.stream, l.tables, l.progress = source, tables, at
		if err := l.setSkips([]tablestate.SkipRequest{{At: id.String()}}); err != nil {
			t.Fatal(err)
		}
		l.updateSkips()
		want := errCut
		if sent < len(script) {
			want = errEndOfScript
		}
		if err := l.run(t.Context()); !errors.Is(err, want) || len(l.gaps.Open) > 0 {
			t.Errorf("run %d ended with %v, the gaps are %+v", run, err, l.gaps.Open)
		}
	}
}

func testSkipUnreadable(t *testing.T, unreadable error, runs int, isFirst bool) {
	t.Helper()
	id, err := binlog.ParseTransactionID("gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:7")
	if err != nil {
		t.Fatal(err)
	}
	table := intTable()
	source := &scriptedSource{
		tables: []*binlog.Table{table},
		script: []*binlog.Event{
			{Kind: binlog.Progress},
			rowsEvent(t, table, binlog.Insert, [2]uint32{2, 20}),
			{Kind: binlog.Commit},
		},
		transactions: map[int]binlog.Evidence{1: {GTID: id.GTID}, 2: {GTID: id.GTID}},
		unreadable:   unreadable,
	}
	if isFirst {
		source.script = source.script[1:]
		source.transactions = map[int]binlog.Evidence{0: {GTID: id.GTID}, 1: {GTID: id.GTID}}
	}
	to := sinktest.NewMemory("test")
	p, l := scriptedPipeline(t, to, source)
	for run := 1; ; run++ {
		if err := l.setSkips([]tablestate.SkipRequest{{At: id.String()}}); err != nil {
			t.Fatal(err)
		}
		l.updateSkips()
		err = l.run(t.Context())
		if run == runs {
			break
		}
		if !errors.Is(err, unreadable) || len(l.gaps.Open) > 0 {
			t.Errorf("run %d ended with %v, the gaps are %+v", run, err, l.gaps.Open)
		}
		before := l
		l = p.newLoop(source)
		l.stream, l.tables, l.progress = source, before.tables, before.progress
		source.position.Offset = 0
	}
	if err == nil || errors.As(err, new(*StopError)) ||
		!strings.Contains(err.Error(), "opened again") {
		t.Errorf("the run ended with %v", err)
	}
	at, err := to.Progress("test")
	if err != nil {
		t.Fatal(err)
	}
	position, err := ParsePosition(at.Position)
	if err != nil || position.String() != id.String() || position.File != "" ||
		!strings.Contains(at.Gaps, id.String()) {
		t.Errorf("the position is %s, the gaps are %s, %v", position, at.Gaps, err)
	}
}

// Transactions that the binlog files of a replay do not contain make a gap of all tables.
func TestGapOfMissing(t *testing.T) {
	table := intTable()
	source := &scriptedSource{tables: []*binlog.Table{table}, script: []*binlog.Event{
		{Kind: binlog.Progress},
		rowsEvent(t, table, binlog.Insert, [2]uint32{2, 20}),
		{Kind: binlog.Commit, Time: 1000},
		{Kind: binlog.Progress, Skipped: &binlog.Skipped{Unknown: true}},
	}}
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, source)
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	if g := l.gaps.Open; len(g) != 1 || g[0].Cause != tablestate.CauseMissing || !g[0].All ||
		g[0].From != "log:3" || g[0].To != "log:4" {
		t.Errorf("the gaps are %+v", g)
	}
	if m := l.tables.all["shop.t"]; l.writeMode(m) == transform.Delta {
		t.Error("deltas are written although rows may be missing")
	}
	if at, err := to.Progress("test"); err != nil || at.Gaps == "" {
		t.Errorf("the position shows the gaps %q, %v", at.Gaps, err)
	}
}

// A move forward makes a gap, a move back makes none. If it is not known which of the two a move
// is, it makes a gap that says so.
func TestGapsOfMoves(t *testing.T) {
	const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	gtids := func(text, place string) binlog.Position {
		p, err := binlog.ParsePosition("gtid:" + uuid + ":" + text)
		if err != nil {
			t.Fatal(err)
		}
		at, err := binlog.ParsePosition(place)
		if err != nil {
			t.Fatal(err)
		}
		p.File, p.Offset = at.File, at.Offset
		return p
	}
	onlyGTIDs := binlog.Position{GTID: gtids("1-5", "b.000001:4").GTID}
	place := func(file string, offset uint64) binlog.Position {
		return binlog.Position{File: file, Offset: offset}
	}
	for _, test := range []struct {
		old, at binlog.Position
		gap     string // the reason, or "-" for none
	}{
		{place("b.000002", 9), place("b.000002", 10), ""},
		{place("b.000002", 9), place("b.000002", 9), "-"},
		{place("b.000002", 9), place("b.000001", 50), "-"},
		{place("b.000009", 9), place("mysql-bin.000001", 50), "cannot be compared"},
		{gtids("1-5", "b.000002:9"), gtids("1-6", "b.000001:9"), ""},
		{gtids("1-5", "b.000002:9"), gtids("1-4", "b.000003:9"), "-"},
		{gtids("1-5", "b.000002:9"), gtids("1-4:7", "b.000003:9"), ""},
		{onlyGTIDs, place("b.000001", 50), "cannot be compared"},
	} {
		source := &scriptedSource{tables: []*binlog.Table{intTable()}}
		to := sinktest.NewMemory("test")
		_, l := scriptedPipeline(t, to, source)
		l.progress.Position = test.at
		if err := l.applyRewind(t.Context(), &test.old, &test.old); err != nil {
			t.Fatal(err)
		}
		at, err := to.Progress("test")
		if err != nil {
			t.Fatal(err)
		}
		var gaps []tablestate.Gap
		if at.Gaps != "" {
			if err := json.Unmarshal([]byte(at.Gaps), &gaps); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case test.gap == "-" && len(gaps) == 0:
		case test.gap != "-" && len(gaps) == 1 && gaps[0].Cause == "--from" &&
			gaps[0].From == test.old.String() && gaps[0].To == test.at.String() &&
			len(gaps[0].Tables) == 0 && strings.Contains(gaps[0].Reason, test.gap) &&
			(test.gap != "" || gaps[0].Reason == ""):
		default:
			t.Errorf("from %s to %s: the gaps are %+v, want %q", test.old, test.at, gaps, test.gap)
		}
	}
}

// Rows that were not read, because their table map did not fit a table with on_error: stop, stop
// the pipeline before the position moves past them. They can be skipped.
func TestMismatchStopsBeforeThePosition(t *testing.T) {
	for _, skip := range []bool{false, true} {
		source := &scriptedSource{
			tables:       []*binlog.Table{intTable()},
			script:       []*binlog.Event{{Kind: binlog.Progress}, {Kind: binlog.Commit}},
			transactions: map[int]binlog.Evidence{1: {File: "log", Start: 77}},
		}
		to := sinktest.NewMemory("test")
		_, l := scriptedPipeline(t, to, source)
		l.config.Mapping.Tables[0].OnError = transform.StopAtError
		l.tables.mismatched[l.tables.all["shop.t"]] = errors.New("it was altered")
		if skip {
			request := tablestate.SkipRequest{At: "log:77", Tables: []string{"shop.t"}}
			if err := l.setSkips([]tablestate.SkipRequest{request}); err != nil {
				t.Fatal(err)
			}
		}
		source.position.Offset = 2
		err := l.commit(t.Context(), &binlog.Event{Kind: binlog.Commit})
		at, loadErr := to.Progress("test")
		if loadErr != nil {
			t.Fatal(loadErr)
		}
		isStopped := errors.As(err, new(*StopError)) && at.Phase == sink.Empty &&
			strings.Contains(err.Error(), "rowfall skip test.yaml --at log:77 (with --table shop.t")
		if skip && (err != nil || at.Gaps == "") || !skip && !isStopped {
			t.Errorf("skip %v: ended with %v, the gaps are %q", skip, err, at.Gaps)
		}
	}
}
