package transform

// Warnings returns what is most likely a mistake in the entry of the table, although the entry fits
// the table. The caller must not change them.
func (p *Plan) Warnings() []*MappingError { return p.warnings }

// warn records a warning at a part of the entry, such as "columns.add.name".
func (c *compiler) warn(part, format string, args ...any) {
	c.plan.warnings = append(c.plan.warnings, c.fault(part, format, args...))
}
