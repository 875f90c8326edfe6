package pipelines

import (
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/sink/sinktest"
)

// A run that begins before the columns of a table were recorded doubts them. A statement that keeps
// the columns does not count.
func TestDoubtDefinitions(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	m := l.tables.all["shop.t"]
	at := binlog.Position{File: "log", Offset: 10}
	m.since = &binlog.Position{File: "log", Offset: 10}
	l.tables.position = func() *binlog.Position { return &at }
	at.Offset = 20
	indexed := intTable()
	indexed.Unique = [][]int{{1}}
	if err := l.redefine(m, ddl.FromTable(indexed), m.Job); err != nil {
		t.Fatal(err)
	}
	start := binlog.Position{File: "log", Offset: 15}
	if l.markTentative(&start); m.isTentative() {
		t.Errorf("columns that are known since %v are doubted at %v", m.since, start)
	}
	at.Offset = 30
	renamed := intTable()
	renamed.Columns[1].Name = "w"
	if err := l.redefine(m, ddl.FromTable(renamed), m.Job); err != nil {
		t.Fatal(err)
	}
	if l.markTentative(&at); m.isTentative() {
		t.Error("columns are doubted where they were recorded")
	}
	if l.markTentative(&start); !m.isTentative() {
		t.Errorf("columns that are known since %v are not doubted at %v", m.since, start)
	}
	if err := m.save(&l.unit, "test"); err != nil {
		t.Fatal(err)
	}
}
