package pipelines

import (
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// Tables that a skipped statement concerns are read again with their present definitions: those
// that it alters, the new names of tables, and tables that get a key. They make a gap, which their
// jobs close.
func TestSkippedStatement(t *testing.T) {
	for _, test := range []struct {
		sql, table string // table: the skip is of this table alone
		want       []string
	}{
		{"ALTER TABLE t MODIFY v INT FIRST", "", []string{"shop.t"}},
		{"ALTER TABLE t MODIFY v INT FIRST", "shop.t", []string{"shop.t"}},
		{"RENAME TABLE t TO b", "", []string{"shop.b", "shop.t"}},
		{"TRUNCATE TABLE t", "", []string{"shop.t"}},
		{"ALTER TABLE keyless ADD PRIMARY KEY (id)", "", []string{"shop.keyless"}},
		{"CREATE TABLE c (id INT PRIMARY KEY)", "", []string{"shop.c"}},
		{"ALTER TABLE t FROBNICATE", "", []string{"shop.t"}},
		{"DROP TEMPORARY TABLE t", "", nil},
	} {
		t.Run(test.sql+" "+test.table, func(t *testing.T) {
			l := skippingLoop(t, test.table)
			ev := &binlog.Event{Kind: binlog.Statement, SQL: test.sql, Database: "shop"}
			if test.table == "" {
				ev.Skipped = new(binlog.Skipped)
			}
			if err := l.statement(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			var read []string
			for _, name := range l.tables.names() {
				if m := l.tables.all[name]; m.Job.NeedsSchema {
					read = append(read, name)
					if m.Job.Gap != l.gaps.Last {
						t.Errorf("the job of %s closes the gaps up to %d", name, m.Job.Gap)
					}
				}
			}
			if !slices.Equal(read, test.want) {
				t.Errorf("the tables that are read again are %v, want %v", read, test.want)
			}
			var inGap []string
			if len(l.gaps.Open) > 0 {
				inGap = l.gaps.Open[0].Tables
			}
			if !slices.Equal(inGap, test.want) {
				t.Errorf("the gap concerns %v, want %v", inGap, test.want)
			}
		})
	}
}

// skippingLoop returns a loop with the tables shop.t, and shop.keyless, which has no key and is not
// mapped. It skips the transaction at log:10, or the changes of one table in it.
func skippingLoop(t *testing.T, table string) *loop {
	t.Helper()
	keyless := intTable()
	keyless.Name, keyless.Primary = "keyless", nil
	source := &scriptedSource{
		tables:       []*binlog.Table{intTable()},
		script:       []*binlog.Event{{Kind: binlog.Statement}},
		transactions: map[int]binlog.Evidence{0: {File: "log", Start: 10}},
	}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	source.position.Offset = 1
	if _, err := l.tables.add(ddl.FromTable(keyless)); err != nil {
		t.Fatal(err)
	}
	request := tablestate.SkipRequest{At: "log:10"}
	if table != "" {
		request.Tables = []string{table}
	}
	if err := l.setSkips([]tablestate.SkipRequest{request}); err != nil {
		t.Fatal(err)
	}
	return l
}

// The tables of a skipped statement within a transaction are in the gap of the transaction.
func TestSkippedStatementInTransaction(t *testing.T) {
	l := skippingLoop(t, "")
	err := l.statement(t.Context(), &binlog.Event{
		Kind: binlog.Statement, SQL: "CREATE TABLE c (id INT PRIMARY KEY)", Database: "shop",
		InTransaction: true, Skipped: new(binlog.Skipped),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.gaps.Open) > 0 {
		t.Errorf("the gap is made before the transaction ends: %+v", l.gaps.Open)
	}
	err = l.commit(t.Context(), &binlog.Event{
		Kind: binlog.Commit, Skipped: &binlog.Skipped{Tables: []string{"shop.c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.gaps.Open) != 1 || !slices.Equal(l.gaps.Open[0].Tables, []string{"shop.c"}) ||
		l.gaps.Open[0].All {
		t.Errorf("the gaps are %+v", l.gaps.Open)
	}
}

// A table whose DROP was skipped keeps its keys if `on_drop` is stop: it goes into quarantine.
func TestNoTableWithOnDropStop(t *testing.T) {
	to, _ := storedData(t)
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, to, source)
	l.config.Mapping.Tables[0].OnDrop = transform.StopAtRemoval
	for name, hasKeys := range map[string]bool{"t": true, "other": false} {
		n := ddl.TableName{Database: "shop", Table: name}
		if err := l.rebuildUnknown(n, "test"); err != nil {
			t.Fatal(err)
		}
		m := l.tables.all[n.String()]
		if err := l.AdoptSchema(t.Context(), &m.Table, nil); err != nil {
			t.Fatal(err)
		}
		m = l.tables.all[n.String()]
		if hasKeys != (m != nil && m.Fault != nil) {
			t.Errorf("the table %s is %+v", n, m)
		}
	}
	if _, found := to.Keys.HashFields("t:1"); !found {
		t.Error("the keys are removed")
	}
}
