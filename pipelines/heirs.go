package pipelines

import (
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
