package pipelines

import (
	"encoding/json"
	"maps"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// The data keep a transform.ColumnHistory of each mapped table: which columns that the mapping
// names were dropped or renamed. It is stored with the table's other state, if there is any.

// historyOf returns the column history of a table, for a definition to be compiled.
func (s *tableSet) historyOf(full string) *transform.ColumnHistory {
	if h := s.columns[full]; h != nil {
		return h
	}
	return new(transform.ColumnHistory)
}

// setHistory sets the column history of a table, which need not be mapped yet.
func (s *tableSet) setHistory(full string, h *transform.ColumnHistory) {
	s.columns[full] = h
	if t := s.all[full]; t != nil {
		t.columns = h
	}
}

// recordAlter records what an ALTER does to the columns of a mapped table.
func (s *tableSet) recordAlter(t *mappedTable, rule *transform.Rule, e *ddl.Effect) {
	if before := t.definition; before != nil && e.Schema != nil {
		h := t.columns.Clone() // a RENAME in the same statement may use the old one
		h.Alter(rule, before.Table(), e.Schema.Table(), e.Renamed)
		s.setHistory(t.FullName(), h)
	}
}

// loadHistory reads the column history of a table.
func (s *tableSet) loadHistory(pieces map[string][]byte, full string, known bool) error {
	h := new(transform.ColumnHistory)
	if text := pieces[tablestate.ColumnsPrefix+full]; text != nil {
		if err := json.Unmarshal(text, h); err != nil {
			return corrupt("former columns of "+full, err)
		}
		known = true
	}
	h.Known = known
	s.columns[full] = h
	return nil
}

// saveHistory puts the column history of a table into a unit.
func (t *mappedTable) saveHistory(u *sink.Unit, pipeline string) error {
	if t.columns.IsEmpty() {
		u.DropState(pipeline, tablestate.ColumnsPrefix+t.FullName())
		return nil
	}
	return saveJSON(u, pipeline, tablestate.ColumnsPrefix+t.FullName(), t.columns)
}

// compileFormer returns the plan of a former definition, which is used only for its keys. Columns
// that the table has lost or got since are no faults.
func (s *tableSet) compileFormer(t *binlog.Table) (*transform.Plan, error) {
	h := s.historyOf(t.FullName()).Clone()
	for _, origin := range h.Renamed {
		h.Dropped = append(h.Dropped, origin)
	}
	h.Renamed = nil
	return s.compileWith(t, h)
}

// moveHistory gives a table that a statement has renamed what protects its columns, before an
// effect of the statement is applied. histories are the column histories by the names before the
// RENAME.
func (l *loop) moveHistory(
	e *ddl.Effect, histories map[string]*transform.ColumnHistory,
) error {
	from := histories[e.From.String()]
	if e.Class != ddl.TableNew || from == nil || len(from.Renamed) == 0 {
		return nil
	}
	matches, err := l.matches(e.Table)
	if err != nil || !matches {
		return err
	}
	h := l.tables.historyOf(e.Table.String()).Clone()
	h.Renamed = maps.Clone(from.Renamed)
	l.tables.setHistory(e.Table.String(), h)
	return nil
}
