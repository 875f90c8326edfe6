package transform

import (
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/transform/expression"
)

// changeCondition is the setting where of an output that acts once per change. Besides the columns
// of the row it may use those of the row before the change: what such an output has written belongs
// to no row, so that it need not depend on the row alone.
type changeCondition struct {
	program *expression.Program
	// isPrivate is set if the condition reads an excluded column, which messages must not show.
	isPrivate bool
}

// changeCondition compiles the setting where of an output; nil if the output does not have it.
func (c *compiler) changeCondition(w *Output) (*changeCondition, error) {
	if w.Where == "" {
		return nil, nil
	}
	// The condition itself does not leave, so that it may use excluded columns.
	v := c.view.ForConditions()
	p, err := expression.Compile(w.Where, v, expression.AllowOld)
	if err != nil {
		return nil, fmt.Errorf("in %q: %w", w.Where, err)
	}
	if p.Kind() != expression.Bool || p.Nullable() {
		return nil, fmt.Errorf("in %q: where needs a condition, true or false for every change, "+
			"and this is %s; compare it with something, as in status != old.status",
			w.Where, p.Kind())
	}
	c.warnInOutput(w, "where", w.Where, p)
	return &changeCondition{
		program: p, isPrivate: slices.ContainsFunc(p.Columns(), c.view.IsExcluded),
	}, nil
}

// accepts reports whether the emitter acts on a change. row is the new row, or the old row of a
// delete; old is the row before the change, nil for an insert.
func (c *changeCondition) accepts(s *scratch, row, old *binlog.Row) (bool, error) {
	if c == nil {
		return true, nil
	}
	s.expression.SetOld(old)
	ok, err := c.program.Bool(&s.expression, row)
	if err != nil && c.isPrivate {
		err = errPrivateCondition
	}
	return ok, err
}
