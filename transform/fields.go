package transform

import (
	"bytes"

	"rowfall/binlog"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// fields is what a whole row is written as: the columns that the mapping includes, then the
// computed fields. It is immutable once compiled, and the clones of a plan share it.
type fields struct {
	columns  []columnField
	computed []computedField
	// nullable holds the indexes in columns of the fields that may be NULL.
	nullable []int
}

// fieldName is the name of a field, encoded once when the mapping is compiled.
type fieldName struct {
	// bulk is the name as a RESP bulk string, json as the start of a JSON member: "name":
	bulk, json []byte
}

// columnField is a field that holds a column of the table.
type columnField struct {
	fieldName
	column   int // index in Table.Columns
	nullable bool
	digits   int // see lengthDigitsHint
}

// computedField is a field that holds the value of an expression (columns.add).
type computedField struct {
	fieldName
	program *expression.Program
	path    string // YAML path, for messages
}

// computedValues holds the texts of all computed fields of one row.
type computedValues struct {
	text []byte
	// ends[i] is the offset in text at which the value of field i ends.
	ends []int
	// null[i] is set if the expression of field i is nil for the row.
	null []bool
}

func (v *computedValues) at(i int) []byte {
	if i == 0 {
		return v.text[:v.ends[0]]
	}
	return v.text[v.ends[i-1]:v.ends[i]]
}

// evaluate replaces the values by those of row r. If an expression fails, failed is its index in f.
func (v *computedValues) evaluate(
	f []computedField, s *expression.Scratch, r *binlog.Row,
) (failed int, err error) {
	v.text, v.ends, v.null = v.text[:0], v.ends[:0], v.null[:0]
	for i := range f {
		text, null, err := f[i].program.AppendText(v.text, s, r)
		if err != nil {
			return i, err
		}
		v.text = text
		v.ends, v.null = append(v.ends, len(text)), append(v.null, null)
	}
	return -1, nil
}

// count returns the number of fields.
func (f *fields) count() int { return len(f.columns) + len(f.computed) }

// name returns the name of a field. Computed fields are numbered after the columns.
func (f *fields) name(i int) *fieldName {
	if i < len(f.columns) {
		return &f.columns[i].fieldName
	}
	return &f.computed[i-len(f.columns)].fieldName
}

// appendHash appends the commands that write every field of row r: HSET of those with a value, and
// HDEL of those that are NULL. mayExist is set if the key may exist; without it there is nothing to
// remove. s.newComputed must hold the computed values of r.
func (f *fields) appendHash(
	u *Commands, s *scratch, r *binlog.Row, key []byte, mayExist bool,
) error {
	nulls := 0
	for _, i := range f.nullable {
		if r.IsNull(f.columns[i].column) {
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
		return nil
	}
	u.startCommand(2+2*(total-nulls), verbHSet)
	u.appendBulk(key)
	for i := range f.columns {
		c := &f.columns[i]
		if nulls > 0 && c.nullable && r.IsNull(c.column) {
			continue
		}
		u.Bytes = append(u.Bytes, c.bulk...)
		if err := u.appendColumn(r, c.column, c.digits); err != nil {
			return err
		}
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
			if c := &f.columns[i]; r.IsNull(c.column) {
				u.Bytes = append(u.Bytes, c.bulk...)
			}
		}
		for i := range f.computed {
			if s.newComputed.null[i] {
				u.Bytes = append(u.Bytes, f.computed[i].bulk...)
			}
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
		case ch.new.IsNull(c):
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
			if err := u.appendColumn(ch.new, c.column, c.digits); err != nil {
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

// sameComputed reports whether computed field i has the same value for the old and the new row.
func (s *scratch) sameComputed(i int) bool {
	return s.oldComputed.null[i] == s.newComputed.null[i] &&
		bytes.Equal(s.oldComputed.at(i), s.newComputed.at(i))
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
		if b, err = r.AppendJSON(b, c.column); err != nil {
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
