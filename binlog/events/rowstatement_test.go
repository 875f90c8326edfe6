package events

import (
	"errors"
	"slices"
	"testing"

	"rowfall/binlog"
)

// Statements that change rows are yielded in their transaction, without MariaDB's settings before
// them. The blocks of the file of a LOAD DATA yield nothing.
func TestRowStatements(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.add(gtidLogEvent, 0, gtidBody(1))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(intvarEvent, 0, make([]byte, 9))
	m.add(queryEvent, 0, queryBody("/* a */ update t set a = 1"))
	m.add(queryEvent, 0, queryBody("SET STATEMENT max_statement_time = 'FOR'/* FOR */, "+
		"a.b=(1) for delete from t"))
	m.add(queryEvent, 0, queryBody("ANALYZE FORMAT=JSON UPDATE t SET a = 1"))
	m.add(queryEvent, 0, queryBody("SAVEPOINT s"))
	m.add(queryEvent, 0, queryBody("/* only a comment */"))
	m.add(queryEvent, 0, queryBody("/*M! SAVEPOINT */ DELETE FROM u")) // MySQL ignores it
	m.add(beginLoadQueryEvent, 0, []byte("\x07\x00\x00\x001\t2\n"))
	m.add(appendBlockEvent, 0, []byte("\x07\x00\x00\x003\t4\n"))
	load := queryBody("LOAD DATA LOCAL INFILE 'x' INTO TABLE t")
	m.add(executeLoadQueryEvent, 0, slices.Insert(load, 13, make([]byte, 13)...))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	m.add(writeRowsEvent, 0, rowsBody(1, 1))
	m.add(xidEvent, 0, make([]byte, 8))
	var got []string
	p := newParser(newOneTable())
	if err := feed(p, m.events, func(ev *binlog.Event) {
		switch ev.Kind {
		case binlog.RowStatement:
			if !ev.InTransaction || ev.Database != "shop" {
				t.Errorf("%s: in a transaction: %v, database %q", ev.SQL, ev.InTransaction,
					ev.Database)
			}
			got = append(got, ev.SQL)
		case binlog.Changes:
			got = append(got, "rows")
		case binlog.Commit:
			got = append(got, "commit")
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/* a */ update t set a = 1", "delete from t", "ANALYZE FORMAT=JSON UPDATE t SET a = 1",
		"/*M! SAVEPOINT */ DELETE FROM u", "LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "rows",
		"commit",
	}
	if !slices.Equal(got, want) {
		t.Errorf("it yields %q, want %q", got, want)
	}
}

// Statements of an XA transaction that is prepared are yielded at its XA COMMIT, when their changes
// become visible. If the transaction is too large to be kept, they are rejected.
func TestRowStatementsOfXA(t *testing.T) {
	s := newXAScript()
	s.query("XA START X'78',X'',1")
	s.add(queryEvent, 0, queryBody("UPDATE t SET a = 1"))
	load := queryBody("LOAD DATA LOCAL INFILE 'x' INTO TABLE t")
	s.add(executeLoadQueryEvent, 0, slices.Insert(load, 13, make([]byte, 13)...))
	s.add(queryEvent, 0, queryBody("XA END X'78',X'',1"))
	s.add(xaPrepareLogEvent, 0, []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'})
	s.query("XA COMMIT X'78',X'',1")
	parse := func() (steps []string, err error) {
		k := newKeeper()
		p := NewParser(Options{GTIDs: true, Tables: k})
		p.Start(binlog.Position{})
		err = feed(p, s.events, func(ev *binlog.Event) {
			k.handle(ev)
			if ev.Kind == binlog.RowStatement {
				k.steps[len(k.steps)-1] = ev.SQL
			}
		})
		return k.steps, err
	}
	steps, err := parse()
	want := []string{
		"prepare[][]", "UPDATE t SET a = 1", "LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "xa-commit",
	}
	if err != nil || !slices.Equal(steps, want) {
		t.Errorf("it yields %q, %v, want %q", steps, err, want)
	}
	defer func(size int) { maxPrepared = size }(maxPrepared)
	maxPrepared = 10
	if _, err := parse(); !errors.As(err, new(*binlog.RefusedError)) {
		t.Errorf("the error of a large transaction is %v", err)
	}
}
