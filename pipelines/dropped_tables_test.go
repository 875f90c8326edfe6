package pipelines

import (
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// Names that the server does not have stop only a run that begins new data. A run that continues
// data warns of them.
func TestMissingNamesOfData(t *testing.T) {
	for _, hasData := range []bool{false, true} {
		_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
			&scriptedSource{tables: []*binlog.Table{intTable()}})
		l.config.Mapping.Tables = []transform.TableRule{
			{
				Pattern: "shop.*", Path: "tables.a", Line: 5,
				Columns: transform.Columns{Exclude: []string{"gone"}},
			},
			{Pattern: "shop.u", Path: "tables.b", Line: 6},
		}
		l.hasData = hasData
		err := l.checkNames(t.Context())
		if !hasData {
			if !errors.As(err, new(*StopError)) || !strings.Contains(err.Error(), `"gone"`) {
				t.Errorf("new data: %v", err)
			}
			l.config.Mapping.Tables[0].Columns.Exclude = nil
			err = l.checkNames(t.Context())
			if err == nil || !strings.Contains(err.Error(), "the server has no table shop.u") {
				t.Errorf("new data: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		l.tablesChanged()
		got := *l.stats.warnings.Load()
		if len(got) != 2 || !strings.Contains(got[0].Warning, `has a column "gone"`) ||
			got[0].Table != "shop.*" || got[1].Table != "shop.u" ||
			!strings.Contains(got[1].Warning, "table shop.u was dropped or renamed; its entry") {
			t.Errorf("the warnings are %+v", got)
		}
	}
}

// That a table was dropped is stored until a table has its name again.
func TestDroppedIsStored(t *testing.T) {
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{intTable()}})
	l.config.Mapping.Tables = []transform.TableRule{{Pattern: "shop.t", Path: "tables.a"}}
	m := l.tables.all["shop.t"]
	n, d := m.name(), m.definition
	stored := func() (string, bool) {
		t.Helper()
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := newTableSet(&l.config.Mapping)
		if err := s.load(state.Pieces); err != nil {
			t.Fatal(err)
		}
		at, found := s.dropped["shop.t"]
		return at, found
	}
	if err := l.tableGone(t.Context(), n, m, "DROP", nil); err != nil {
		t.Fatal(err)
	}
	if at, found := stored(); !found || at != l.progress.Position.String() {
		t.Errorf("stored is %q, %v", at, found)
	}
	created := &ddl.Effect{Table: n, Class: ddl.TableNew, Schema: d}
	if err := l.tableNew(n, nil, created); err != nil {
		t.Fatal(err)
	}
	if _, found := stored(); found {
		t.Error("the table is still dropped after the CREATE")
	}
}

// A renamed column that was excluded stays unwritten after a restart and in a table that gets
// another name; a new table of the old name has no history.
func TestColumnHistoryIsStored(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	l.config.Mapping.Tables = []transform.TableRule{{
		Pattern: "shop.*", Path: "tables.a", Columns: transform.Columns{Exclude: []string{"v"}},
	}}
	m := l.tables.all["shop.t"]
	after := intTable()
	after.Columns[1].Name = "w"
	alter := &ddl.Effect{
		Table: m.name(), Class: ddl.ColumnsChanged, Schema: ddl.FromTable(after),
		Renamed: map[string]string{"w": "v"},
	}
	if err := l.applyEffect(t.Context(), alter, "ALTER", nil); err != nil {
		t.Fatal(err)
	}
	if m.Fault == nil || !strings.Contains(m.Fault.Reason, "was renamed to w") {
		t.Fatalf("the fault is %+v", m.Fault)
	}
	pieces := map[string][]byte{
		tablestate.ColumnsPrefix + "shop.t": []byte(`{"renamed":{"w":"v"}}`),
	}
	s := newTableSet(&l.config.Mapping)
	if err := s.loadHistory(pieces, "shop.t", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.compile(after); err == nil {
		t.Error("the column is written after a restart")
	}
	renamed := *after
	renamed.Name = "n"
	n := ddl.NameOf(&renamed)
	move := &ddl.Effect{
		Table: n, From: m.name(), Class: ddl.TableNew,
		Schema: ddl.FromTable(&renamed),
	}
	if err := l.moveHistory(move, l.tables.columns); err != nil {
		t.Fatal(err)
	}
	if err := l.tableNew(n, nil, move); err != nil {
		t.Fatal(err)
	}
	if l.tables.all["shop.n"].Fault == nil {
		t.Error("the column is written after RENAME TABLE")
	}
	l.tables.remove(m)
	if _, err := l.tables.compile(after); err != nil {
		t.Errorf("a new table has the history of the old one: %v", err)
	}
}
