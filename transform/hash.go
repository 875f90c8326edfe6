package transform

import (
	"errors"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/template"
)

// hashWriter writes a row as a hash of its own.
type hashWriter struct{ fields *fields }

var errValueOfHash = errors.New("value belongs to a hash with a field; " +
	"without a field the columns are the fields")

func validateHash(w *Output) error {
	if w.Field == "" && w.Value != "" {
		return errValueOfHash
	}
	return nil
}

func compileHash(c *compiler, w *Output, o *output) error {
	if w.Field != "" {
		return compileSharedHash(c, w, o)
	}
	o.writer, o.writesContent = &hashWriter{c.plan.fields}, true
	return nil
}

// compileSharedHash compiles a hash output with the setting field: a row is one field.
func compileSharedHash(c *compiler, w *Output, o *output) (err error) {
	if o.member, err = c.template("field", w.Field); err != nil {
		return err
	}
	content, err := c.content("value", w.Value)
	o.writer, o.writesContent = &contentWriter{content: content, isField: true}, true
	return err
}

func (w *hashWriter) put(
	u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
) (isWritten bool, err error) {
	return w.fields.appendHash(u, s, ch.new, at.key, mayExist)
}

func (w *hashWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	return w.fields.appendHashDelta(u, s, ch, at.key)
}

func (w *hashWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbDel, at)
}

func (w *hashWriter) expect(args [][]byte, e *Expectation) { e.Pairs = args[2:] }

// appendHash appends the commands that write every field of row r: HSET of those with a value, and
// HDEL of those that are NULL. mayExist is set if the key may exist; without it there is nothing to
// remove. s.newComputed must hold the computed values of r. isWritten is not set if there is no
// field with a value.
func (f *fields) appendHash(
	u *Commands, s *scratch, r *binlog.Row, key []byte, mayExist bool,
) (isWritten bool, err error) {
	nulls := 0
	for _, i := range f.nullable {
		if f.view.IsNull(r, f.columns[i].column) {
			nulls++
		}
	}
	for _, null := range s.newComputed.null {
		if null {
			nulls++
		}
	}
	total := f.count()
	if nulls == total {
		// Redis has no empty hash: a row without any value has no key.
		if mayExist {
			u.startCommand(2, verbDel)
			u.appendBulk(key)
		}
		return false, nil
	}
	u.startCommand(2+2*(total-nulls), verbHSet)
	u.appendBulk(key)
	if err := f.appendColumns(u, r, nulls > 0); err != nil {
		return false, err
	}
	for i := range f.computed {
		if !s.newComputed.null[i] {
			u.Bytes = append(u.Bytes, f.computed[i].bulk...)
			u.appendBulk(s.newComputed.at(i))
		}
	}
	if nulls > 0 && mayExist {
		u.startCommand(2+nulls, verbHDel)
		u.appendBulk(key)
		for _, i := range f.nullable {
			if c := &f.columns[i]; f.view.IsNull(r, c.column) {
				u.Bytes = append(u.Bytes, c.bulk...)
			}
		}
		for i := range f.computed {
			if s.newComputed.null[i] {
				u.Bytes = append(u.Bytes, f.computed[i].bulk...)
			}
		}
	}
	return true, nil
}

// appendColumns appends the names and values of the columns of row r that are not NULL. hasNulls is
// set if there may be NULLs.
func (f *fields) appendColumns(u *Commands, r *binlog.Row, hasNulls bool) error {
	// The rows of a load are most often texts, each of which is only copied.
	texts := f.view.Texts(r)
	for i := range f.columns {
		c := &f.columns[i]
		if texts != nil {
			text := texts[c.column]
			if text == nil && c.nullable {
				continue
			}
			if len(text) > maxBulk {
				return &template.ColumnError{Column: c.column, Err: errTooLong}
			}
			u.Bytes = resp.AppendBulk(append(u.Bytes, c.bulk...), text)
			continue
		}
		if hasNulls && c.nullable && f.view.IsNull(r, c.column) {
			continue
		}
		u.Bytes = append(u.Bytes, c.bulk...)
		if err := u.appendColumn(f.view, r, c.column, c.digits); err != nil {
			return err
		}
	}
	return nil
}

// appendHashDelta appends the commands that turn the hash of ch.old into that of ch.new: HSET of
// the fields that changed, HDEL of those that became NULL. The key must hold the old row.
func (f *fields) appendHashDelta(u *Commands, s *scratch, ch *rowChange, key []byte) error {
	changed, nulled := s.changed[:0], s.nulled[:0]
	for i := range f.columns {
		switch c := f.columns[i].column; {
		case ch.sameColumn(c):
		case f.view.IsNull(ch.new, c):
			nulled = append(nulled, i)
		default:
			changed = append(changed, i)
		}
	}
	for i := range f.computed {
		switch {
		case s.sameComputed(i):
		case s.newComputed.null[i]:
			nulled = append(nulled, len(f.columns)+i)
		default:
			changed = append(changed, len(f.columns)+i)
		}
	}
	s.changed, s.nulled = changed, nulled
	if len(changed) > 0 {
		u.startCommand(2+2*len(changed), verbHSet)
		u.appendBulk(key)
		for _, i := range changed {
			u.Bytes = append(u.Bytes, f.name(i).bulk...)
			if i >= len(f.columns) {
				u.appendBulk(s.newComputed.at(i - len(f.columns)))
				continue
			}
			c := &f.columns[i]
			if err := u.appendColumn(f.view, ch.new, c.column, c.digits); err != nil {
				return err
			}
		}
	}
	if len(nulled) > 0 {
		u.startCommand(2+len(nulled), verbHDel)
		u.appendBulk(key)
		for _, i := range nulled {
			u.Bytes = append(u.Bytes, f.name(i).bulk...)
		}
	}
	return nil
}
