package events

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// skipped builds a stream of three transactions, of which make builds the second, and returns what
// a parser yields that leaves out the second.
func skipped(t *testing.T, tables []string, make func(m *eventBuilder)) []string {
	t.Helper()
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	m.add(gtidLogEvent, 0, gtidBody(2))
	make(m)
	m.transaction(3, 1)
	p := newParser(newOneTable())
	at, err := binlog.ParseTransactionID("gtid:" + strings.Repeat("ab", 16) + ":2")
	if err != nil {
		t.Fatal(err)
	}
	p.Skip([]binlog.Skip{{At: at, Tables: tables}})
	var yielded []string
	if err := feed(p, m.events, func(ev *binlog.Event) {
		switch {
		case ev.Kind == binlog.Progress:
		case ev.Skipped != nil:
			s := ev.Skipped
			yielded = append(yielded, fmt.Sprintf("skipped%v%v%s", s.Tables, s.Unknown, ev.SQL))
		case ev.Kind == binlog.Changes:
			yielded = append(yielded, "rows")
		case ev.Kind == binlog.Commit:
			yielded = append(yielded, "commit")
		}
	}); err != nil {
		t.Error(err)
	}
	set := p.Position().GTID
	if got := set.String(); !strings.HasSuffix(got, ":1-3") {
		t.Errorf("the position is %s", got)
	}
	return yielded
}

// Only statements and the end of a transaction that is left out are yielded, whatever it contains.
func TestSkip(t *testing.T) {
	begin := func(m *eventBuilder) { m.add(queryEvent, 0, queryBody("BEGIN")) }
	xid := func(m *eventBuilder) { m.add(xidEvent, 0, make([]byte, 8)) }
	for name, test := range map[string]struct {
		make func(m *eventBuilder)
		want string // what is yielded for it, separated by semicolons
	}{
		"rows": {func(m *eventBuilder) {
			begin(m)
			m.add(tableMapEvent, 0, mapBody(2, "t"))
			m.add(tableMapEvent, 0, mapBody(3, "other"))
			m.add(writeRowsEvent, 0, rowsBody(2, 2))
			m.add(tableMapEvent, 0, mapBody(2, "t"))
			m.add(writeRowsEvent, 0, rowsBody(3, 2))
			xid(m)
		}, "skipped[shop.t shop.other]false"},
		"patch of a JSON column": {func(m *eventBuilder) {
			begin(m)
			m.add(tableMapEvent, 0, mapBody(2, "t"))
			m.add(partialUpdateRowsEvent, 0, rowsBody(2, 2))
			xid(m)
		}, "skipped[shop.t]false"},
		"changes logged as a statement": {func(m *eventBuilder) {
			begin(m)
			m.add(queryEvent, 0, queryBody("DELETE FROM t"))
			xid(m)
		}, "skipped[]true"},
		"an event of an unknown type": {func(m *eventBuilder) {
			begin(m)
			m.add(200, 0, []byte{1, 2, 3})
			xid(m)
		}, "skipped[]true"},
		"a statement that stands alone": {func(m *eventBuilder) {
			m.add(queryEvent, 0, queryBody("TRUNCATE t"))
		}, "skipped[]falseTRUNCATE t"},
		"a statement before rows": {func(m *eventBuilder) {
			begin(m)
			m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT) START TRANSACTION"))
			m.add(tableMapEvent, 0, mapBody(2, "x"))
			m.add(writeRowsEvent, 0, rowsBody(2, 2))
			xid(m)
		}, "skipped[]falseCREATE TABLE x (id INT) START TRANSACTION;skipped[shop.x]false"},
		"a payload that cannot be decompressed": {func(m *eventBuilder) {
			m.add(transactionPayloadEvent, 0, bytes.Repeat([]byte{7}, 9))
		}, "skipped[]true"},
	} {
		t.Run(name, func(t *testing.T) {
			want := append([]string{"rows", "commit"}, strings.Split(test.want, ";")...)
			want = append(want, "rows", "commit")
			if got := skipped(t, nil, test.make); !slices.Equal(got, want) {
				t.Errorf("it yields %q, want %q", got, want)
			}
		})
	}
}

// With TimesOnly a parser yields only the ends of transactions, whatever they contain, and also
// passes an INCIDENT and an XA COMMIT without its PREPARE.
func TestTimesOnly(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	m.add(gtidLogEvent, 0, gtidBody(2))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT) START TRANSACTION"))
	m.add(queryEvent, 0, queryBody("DELETE FROM t"))
	m.add(200, 0, []byte{1, 2, 3})
	m.add(xidEvent, 0, make([]byte, 8))
	m.add(incidentEvent, 0, []byte{1, 0, 0})
	m.add(gtidLogEvent, 0, gtidBody(3))
	m.add(queryEvent, 0, queryBody("XA COMMIT X'01',X'',1"))
	m.add(gtidLogEvent, 0, gtidBody(4))
	m.add(transactionPayloadEvent, 0, bytes.Repeat([]byte{7}, 9))
	m.add(gtidLogEvent, 0, gtidBody(5))
	m.add(queryEvent, 0, queryBody("TRUNCATE t"))
	m.transaction(6, 1)
	p := NewParser(Options{GTIDs: true, TimesOnly: true})
	p.Start(binlog.Position{File: "binlog.000001", Offset: 4})
	var got []binlog.Kind
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind != binlog.Progress {
			got = append(got, ev.Kind)
		}
	}); err != nil {
		t.Error(err)
	}
	want := slices.Repeat([]binlog.Kind{binlog.Commit}, 6)
	want[4] = binlog.Statement
	if !slices.Equal(got, want) {
		t.Errorf("it yields %v, want %v", got, want)
	}
}

// Rows of a table that is left out cannot end the parsing. Other rows of the transaction are
// yielded.
func TestSkipTable(t *testing.T) {
	got := skipped(t, []string{"shop.t"}, func(m *eventBuilder) {
		m.add(queryEvent, 0, queryBody("BEGIN"))
		m.add(tableMapEvent, 0, mapBody(2, "t"))
		m.add(writeRowsEvent, 0, rowsBody(2, 1))
		m.add(writeRowsEvent, 0, damagedRowsBody(2))
		m.add(xidEvent, 0, make([]byte, 8))
	})
	want := []string{"rows", "commit", "rows", "commit", "rows", "commit"}
	if !slices.Equal(got, want) {
		t.Errorf("it yields %q, want %q", got, want)
	}
}

// A transaction without a GTID is left out at the place where it begins.
func TestSkipByOffset(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	anonymous := func() {
		m.add(anonymousGTIDLogEvent, 0, gtidBody(0))
		m.add(queryEvent, 0, queryBody("BEGIN"))
		m.add(tableMapEvent, 0, mapBody(1, "t"))
		m.add(writeRowsEvent, 0, rowsBody(1, 1))
		m.add(xidEvent, 0, make([]byte, 8))
	}
	anonymous()
	start := m.offset
	anonymous()
	anonymous()
	p := newParser(newOneTable())
	p.Skip([]binlog.Skip{{At: binlog.TransactionID{File: "binlog.000007", Start: start}}})
	rows, ends := 0, 0
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind == binlog.Changes {
			rows++
		}
		if ev.Skipped != nil {
			ends++
			if id := p.Last().ID(); id.Start != start || id.File != "binlog.000007" {
				t.Errorf("the transaction at %s is skipped", id)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if rows != 2 || ends != 1 {
		t.Errorf("%d rows events, %d skipped, want 2 and 1", rows, ends)
	}
}

// skipAt feeds events to a parser that leaves out the transaction with a sequence number. It
// returns the ends of the skipped transactions, and the error of the parser.
func skipAt(
	t *testing.T, sequence string, write func(m *eventBuilder),
) (ends []binlog.Skipped, err error) {
	t.Helper()
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	write(m)
	p := newParser(newOneTable())
	at, err := binlog.ParseTransactionID("gtid:" + strings.Repeat("ab", 16) + ":" + sequence)
	if err != nil {
		t.Fatal(err)
	}
	p.Skip([]binlog.Skip{{At: at}})
	err = feed(p, m.events, func(ev *binlog.Event) {
		if ev.Skipped != nil {
			ends = append(ends, *ev.Skipped)
		}
	})
	return ends, err
}

// An INCIDENT between transactions is rejected, also after a skipped transaction.
func TestIncidentAfterSkip(t *testing.T) {
	for _, at := range []string{"2", "9"} {
		_, err := skipAt(t, at, func(m *eventBuilder) {
			m.transaction(2, 1)
			m.add(incidentEvent, 0, []byte{1, 0, 0})
		})
		if err == nil || !strings.Contains(err.Error(), "changes may be missing") {
			t.Errorf("skip %s: error %v", at, err)
		}
	}
}
