package pipelines

import (
	"context"
	"encoding/json"
	"slices"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// A change of a table's primary key changes the keys that its rows are written to. The present plan
// does not recognise the old keys. So a table keeps its former definitions until the rows are
// written to their new keys; then the old keys are removed. The same holds while a table has no
// plan, because its columns are not known or because it is in quarantine: a DROP TABLE must find
// its keys.

// keepFormer records the definition that a table is about to lose, if the sink may hold keys that
// the next plan does not own. The next plan may be nil.
func (s *tableSet) keepFormer(t *mappedTable, next *transform.Plan) {
	if t.Plan == nil || next != nil && hasSameLocations(t.Plan, next) {
		return
	}
	s.removeFormerDue = true
	if slices.ContainsFunc(s.formerPlans(t), func(p *transform.Plan) bool {
		return hasSameLocations(t.Plan, p)
	}) {
		return
	}
	t.former = append(t.former, t.definition)
}

// formerPlans returns the plans of a table's former definitions.
func (s *tableSet) formerPlans(t *mappedTable) (plans []*transform.Plan) {
	for _, d := range t.former {
		// The definition had a plan. The mapping may have changed since; then the data are checked.
		if p, err := s.compileFormer(d.Table()); err == nil && p != nil {
			plans = append(plans, p)
		}
	}
	return plans
}

// hasSameLocations reports whether two plans of one table write rows with equal columns to equal
// locations.
func hasSameLocations(a, b *transform.Plan) bool {
	if a.Outputs() != b.Outputs() {
		return false
	}
	columnsA, columnsB := a.LocationColumns(), b.LocationColumns()
	for i := range a.Outputs() {
		isSame := a.OutputKind(i) == b.OutputKind(i) && a.KeyPrefix(i) == b.KeyPrefix(i) &&
			slices.EqualFunc(columnsA[i], columnsB[i], func(x, y int) bool {
				return a.Table().Columns[x].Name == b.Table().Columns[y].Name
			})
		if !isSame {
			return false
		}
	}
	return true
}

// removeFormer removes the keys that a table's former plans have written and no present plan owns,
// nor a plan of heirs, and forgets the former plans.
func (l *loop) removeFormer(
	ctx context.Context, t *mappedTable, heirs []*transform.Plan,
) error {
	removed := 0
	for _, p := range l.tables.formerPlans(t) {
		if t.Plan != nil && hasSameLocations(p, t.Plan) {
			continue // the job has looked at these keys
		}
		present := append(l.tables.plans(), heirs...)
		n, err := l.removeKeys(ctx, p, present, heirs, "a former definition")
		if removed += n; err != nil {
			return err
		}
	}
	if removed > 0 {
		l.log.Info().Str("table", t.FullName()).Int("removed", removed).
			Msg("the keys of a table's former definition are removed")
	}
	t.former = nil
	return t.saveFormer(&l.unit, l.config.Name)
}

// removeAllFormer removes the old keys of the tables whose rows have been written to the new keys.
func (l *loop) removeAllFormer(ctx context.Context) error {
	if !l.tables.removeFormerDue {
		return nil
	}
	l.tables.removeFormerDue = false
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		if len(t.former) == 0 || !t.Job.Done || t.Fault != nil || l.waitsForNamesake(t) {
			continue
		}
		if err := l.removeFormer(ctx, t, nil); err != nil {
			return err
		}
	}
	l.tablesChanged()
	return l.Flush(ctx)
}

// waitsForNamesake reports whether another table, whose columns are not known yet, has the name of
// a former definition of t: two tables have exchanged their names. The job of the other table may
// need the keys.
func (l *loop) waitsForNamesake(t *mappedTable) bool {
	return slices.ContainsFunc(t.former, func(d *ddl.Schema) bool {
		o := l.tables.all[d.TableName().String()]
		return o != nil && o != t && o.Job.NeedsSchema
	})
}

// saveFormer puts the former definitions of a table into a unit.
func (t *mappedTable) saveFormer(u *sink.Unit, pipeline string) error {
	if len(t.former) == 0 {
		u.DropState(pipeline, tablestate.FormerPrefix+t.FullName())
		return nil
	}
	return saveJSON(u, pipeline, tablestate.FormerPrefix+t.FullName(), t.former)
}

// readFormer returns the former definitions of a table that the pieces hold.
func readFormer(pieces map[string][]byte, full string) (former []*ddl.Schema, err error) {
	if text := pieces[tablestate.FormerPrefix+full]; text != nil {
		if err := json.Unmarshal(text, &former); err != nil {
			return nil, corrupt("former definitions of "+full, err)
		}
	}
	return former, nil
}
