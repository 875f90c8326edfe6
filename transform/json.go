package transform

import (
	"rowfall/binlog"
	"rowfall/transform/template"
)

// compileJSON compiles an output that writes a row as a string with one JSON object. Its content is
// that of a string without a template.
func compileJSON(c *compiler, _ *Output, o *output) error {
	content, err := c.content("", "")
	o.writer, o.writesContent = &contentWriter{content: content}, true
	return err
}

// appendJSON appends row r as one JSON object, in which NULL is null.
func (f *fields) appendJSON(u *Commands, s *scratch, r *binlog.Row) error {
	b := append(u.Bytes, '{')
	var err error
	for i := range f.columns {
		c := &f.columns[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, c.json...)
		if b, err = f.view.AppendJSON(b, r, c.column); err != nil {
			return &template.ColumnError{Column: c.column, Err: err}
		}
	}
	for i := range f.computed {
		if i > 0 || len(f.columns) > 0 {
			b = append(b, ',')
		}
		b = append(b, f.computed[i].json...)
		if b, err = f.computed[i].program.AppendJSON(b, &s.expression, r); err != nil {
			return err
		}
	}
	u.Bytes = append(b, '}')
	return nil
}
