package pipelines

import (
	"context"
	"maps"
	"slices"

	"rowfall/binlog/ddl"
	"rowfall/transform"
)

// After a RENAME of a mapped table to another mapped name, the keys may be the same, if the
// templates do not contain the table's name. MySQL has all the rows before and after the RENAME, so
// the keys must not disappear in between: they stay until the job of the new name has compared them
// with the rows. The plans of the new names are called heirs.

// plansOfRenamed returns the plans of the tables that a statement has renamed to a mapped name, for
// the tables whose columns are known.
func (l *loop) plansOfRenamed(effects []ddl.Effect) (plans []*transform.Plan) {
	for _, e := range effects {
		if e.Class != ddl.TableNew || e.From == (ddl.TableName{}) || e.Schema == nil {
			continue
		}
		// A plan that cannot be compiled writes no key.
		if p, err := l.tables.compile(e.Schema.Table()); err == nil && p != nil {
			plans = append(plans, p)
		}
	}
	return plans
}

// overlapping returns the plans that can write a key that plan p can write.
func overlapping(p *transform.Plan, plans []*transform.Plan) (found []*transform.Plan) {
	for _, other := range plans {
		if transform.Overlap(p, other) {
			found = append(found, other)
		}
	}
	return found
}

// renamedUnknown handles a table that gets a name by the RENAME of a table whose columns are not
// known. A job reads the columns and the rows. If the old name was mapped, its keys stay until this
// job is done: they become keys of a former definition of the new name.
func (l *loop) renamedUnknown(n ddl.TableName, e *ddl.Effect) error {
	var former []*ddl.Schema
	from := l.tables.all[e.From.String()]
	if from != nil && (from.Job.NeedsSchema || from.isTentative()) {
		rule, err := l.ruleOf(from)
		if err != nil {
			return err
		}
		switch rule.OnDrop {
		case transform.StopAtRemoval:
			return l.errRemoval(from, e.Reason, "on_drop")
		case transform.RemoveKeys:
			l.tables.keepFormer(from, nil)
			former = from.former
		case transform.KeepKeys:
		}
		l.tables.remove(from)
		l.saveLetters()
		from.drop(&l.unit, l.config.Name)
		if err := l.recordDropped(e.From); err != nil {
			return err
		}
	}
	if err := l.rebuildUnknown(n, e.Reason); err != nil {
		return err
	}
	t := l.tables.all[n.String()]
	t.former = append(former, t.former...)
	return t.saveFormer(&l.unit, l.config.Name)
}

// adoptUnlogged looks for the server's tables that the mapping matches and that no statement has
// created: table t, which is gone without a statement, may have been renamed to one of them. It
// starts jobs for those that write the same keys as t, and returns their plans.
func (l *loop) adoptUnlogged(
	ctx context.Context, t *mappedTable,
) (heirs []*transform.Plan, err error) {
	lost := l.tables.formerPlans(t)
	if t.Plan != nil {
		lost = append(lost, t.Plan)
	}
	if len(lost) == 0 {
		return nil, nil
	}
	found, err := l.findUnlogged(ctx)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	schemas, err := l.schemas.Schemas(ctx, found)
	if err != nil {
		return nil, err
	}
	for _, full := range slices.Sorted(maps.Keys(schemas)) {
		p, err := l.tables.compile(schemas[full])
		if err != nil || p == nil {
			continue // a plan that cannot be compiled writes no key
		}
		if len(overlapping(p, lost)) == 0 {
			continue // the loop finds the table at the table map of its first row
		}
		heirs = append(heirs, p)
		n := ddl.NameOf(schemas[full])
		if err := l.rebuildUnknown(n, "no statement in the binlog has created it"); err != nil {
			return nil, err
		}
	}
	return heirs, nil
}

// findUnlogged returns the full names of the server's tables that the mapping matches and that are
// not in l.tables.
func (l *loop) findUnlogged(ctx context.Context) (map[string]bool, error) {
	all, err := l.schemas.AllTables(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	for _, t := range all {
		matches, err := l.matches(ddl.NameOf(t))
		if err != nil {
			return nil, err
		}
		_, isUnmapped := l.tables.unmapped[t.FullName()]
		if matches && !isUnmapped && l.tables.all[t.FullName()] == nil {
			found[t.FullName()] = true
		}
	}
	return found, nil
}
