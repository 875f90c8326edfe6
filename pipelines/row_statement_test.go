package pipelines

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// rowStatementEvent is a statement of a transaction that was logged as text instead of rows.
func rowStatementEvent(sql string) *binlog.Event {
	return &binlog.Event{
		Kind: binlog.RowStatement, InTransaction: true, SQL: sql, Database: "shop",
	}
}

// The commands that the open transaction has made for a table are taken back when a statement
// changes the table too. The source checks a table once for many statements, until a statement may
// have changed the result.
func TestRowStatementWithoutMySQL(t *testing.T) {
	table := intTable()
	source := &scriptedSource{tables: []*binlog.Table{table}}
	for range 50 {
		source.script = append(source.script, rowStatementEvent("INSERT INTO log VALUES (1)"),
			&binlog.Event{Kind: binlog.Commit, Time: 1000})
	}
	source.script = append(source.script,
		&binlog.Event{Kind: binlog.Statement, SQL: "DROP TRIGGER x", Database: "shop"},
		rowStatementEvent("INSERT INTO log VALUES (1)"),
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}),
		rowStatementEvent("UPDATE t SET v = 3"),
		rowsEvent(t, table, binlog.Insert, [2]uint32{2, 20}),
		&binlog.Event{Kind: binlog.Commit, Time: 2000},
	)
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, source)
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	if source.checked != 3 { // log, log again, t
		t.Errorf("the source is asked %d times about written tables, want 3", source.checked)
	}
	if n := l.stats.passed.Load(); n != 51 {
		t.Errorf("%d statements have passed, want 51", n)
	}
	to.Keys.Each("t:", func(key string) { t.Errorf("there is %s", key) })
	fault := l.tables.all["shop.t"].Fault
	if fault == nil || !strings.Contains(fault.Reason, "UPDATE t SET v = 3") {
		t.Errorf("the fault of the table is %+v", fault)
	}
}

// A statement that may change any table stops the pipeline, unless the user has stated which tables
// it changes. Other tables that it certainly changes go into quarantine then.
func TestRowStatementStops(t *testing.T) {
	for _, test := range []struct{ sql, why, skip, want string }{
		{"CALL p()", "", "", "CALL does not name the tables"},
		{"INSERT INTO log VALUES (1)", "it has triggers", "", "shop.log, which it writes: it has"},
		{"UPDATE t SET v = f(v)", "", "", `"f" may be a stored function`},
		{"UPDATE t SET v = f(v)", "", "shop.t", ""},
		{"UPDATE t SET v = 1", "", "shop.other", "quarantine"},
		{"UPDATE t SET v = 1", "it has triggers", "", "quarantine"},
	} {
		l := skippingLoop(t, test.skip)
		if test.skip == "" {
			l.skips = nil
		}
		l.writes.source.(*scriptedSource).why = test.why
		err := l.rowStatement(t.Context(), rowStatementEvent(test.sql))
		if test.want == "" || test.want == "quarantine" {
			isFaulty := l.tables.all["shop.t"].Fault != nil
			if err != nil || isFaulty != (test.want != "") {
				t.Errorf("%s: %v, in quarantine: %v", test.sql, err, isFaulty)
			}
			continue
		}
		if !errors.As(err, new(*StopError)) || !strings.Contains(err.Error(), test.want) ||
			!strings.Contains(err.Error(), "rowfall skip test.yaml --at log:10 (if") {
			t.Errorf("%s: %v, want %s", test.sql, err, test.want)
		}
	}
}

// With on_error: stop, the message begins with what makes the pipeline continue, because a stopped
// pipeline reads no table again.
func TestStopAtUnknownRows(t *testing.T) {
	const remedy = "; step over the table's changes in this transaction, which makes a gap: " +
		"rowfall skip test.yaml --at log:10 --table shop.t; then close the gap: rowfall backfill " +
		"test.yaml --table shop.t; or set another on_error and restart"
	l := skippingLoop(t, "")
	l.skips = nil
	l.config.Mapping.Tables[0].OnError = transform.StopAtError
	ev := rowStatementEvent("UPDATE shop.t SET v = 1")
	ev.Database = ""
	err := l.rowStatement(t.Context(), ev)
	want := "(without a default database: \"UPDATE shop.t SET v = 1\")" + remedy +
		"; so that it does not happen again, set binlog_format=ROW in that session"
	if !errors.As(err, new(*StopError)) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
	err = l.tableFault(l.tables.all["shop.t"], transform.Mark{}, &binlog.RefusedError{
		Err: fmt.Errorf("row: %w", &binlog.RereadError{Cause: "no image", Setting: "set FULL"}),
	})
	want = "row: no image" + remedy + "; so that it does not happen again, set FULL"
	if !errors.As(err, new(*StopError)) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// A replay reads every table as a whole, because triggers may have changed any of them.
func TestReplayOfRowStatement(t *testing.T) {
	r := &replay{whole: make(map[string]string), tables: map[string]*replayTable{
		"shop.a": {}, "shop.b": {isWhole: true},
	}}
	r.rowStatement(rowStatementEvent("DELETE FROM x"))
	if names := slices.Sorted(maps.Keys(r.whole)); !slices.Equal(names, []string{"shop.a"}) {
		t.Errorf("the tables %v are read as a whole", names)
	}
}
