package transform

import (
	"bytes"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// fields is what a whole row is written as: the columns that the mapping includes, then the
// computed fields. It is immutable once compiled, and the clones of a plan share it.
type fields struct {
	view     *columns.View // through which the columns are read
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

// sources returns the columns that the fields depend on, in no order.
func (f *fields) sources() []int {
	var all []int
	for i := range f.columns {
		all = append(all, f.columns[i].column)
	}
	for i := range f.computed {
		all = append(all, f.computed[i].program.Columns()...)
	}
	return all
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

// sameComputed reports whether computed field i has the same value for the old and the new row.
func (s *scratch) sameComputed(i int) bool {
	return s.oldComputed.null[i] == s.newComputed.null[i] &&
		bytes.Equal(s.oldComputed.at(i), s.newComputed.at(i))
}
