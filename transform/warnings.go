package transform

import (
	"fmt"

	"rowfall/transform/expression"
)

// Warnings returns what is most likely a mistake in the entry of the table, although the entry fits
// the table. The caller must not change them.
func (p *Plan) Warnings() []*MappingError { return p.warnings }

// warn records a warning at a part of the entry, such as "columns.add.name".
func (c *compiler) warn(part, format string, args ...any) {
	c.plan.warnings = append(c.plan.warnings, c.fault(part, format, args...))
}

// warnInOutput records the warnings of p, which is the expression source of an output's setting.
func (c *compiler) warnInOutput(w *Output, setting, source string, p *expression.Program) {
	for _, warning := range p.Warnings() {
		c.plan.warnings = append(c.plan.warnings, &MappingError{
			Path: w.Path + "." + setting, Line: w.Line,
			Message: fmt.Sprintf("in %q: %s", source, warning),
		})
	}
}
