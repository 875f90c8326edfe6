package events

import (
	"slices"
	"testing"

	"rowfall/binlog"
)

// The tables of a statement are those of its table maps, mapped or not.
func TestStatementTables(t *testing.T) {
	m := &eventBuilder{}
	m.head(4)
	m.add(gtidLogEvent, 0, gtidBody(1))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	m.add(tableMapEvent, 0, mapBody(2, "u"))
	both := len(m.events)
	m.add(writeRowsEvent, 0, rowsBody(1, 1))
	m.add(tableMapEvent, 0, mapBody(2, "u"))
	second := len(m.events)
	m.add(writeRowsEvent, 0, rowsBody(2, 1))
	m.add(xidEvent, 0, make([]byte, 8))
	p := newParser(newOneTable())
	nothing := func(*binlog.Event) {}
	from := 0
	for _, test := range []struct {
		to   int
		want []string
	}{
		{both, []string{"shop.t", "shop.u"}},
		{second, []string{"shop.u"}},
		{len(m.events), nil},
	} {
		if err := feed(p, m.events[from:test.to], nothing); err != nil {
			t.Fatal(err)
		}
		from = test.to
		if got := p.StatementTables(); !slices.Equal(got, test.want) {
			t.Errorf("after %d events the tables are %v, want %v", from, got, test.want)
		}
	}
}
