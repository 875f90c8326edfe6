package transform

import (
	"bytes"
	"slices"

	"rowfall/binlog"
)

// StoredColumns tells where the sink holds the texts of some columns of each row: in the keys of an
// output, or in fields of its hashes.
type StoredColumns struct {
	// Output is the index of the output. It writes a hash for each row that the plan writes, and
	// its keys determine the key of the row.
	Output int
	// Fields are the names of the fields, in the order of the columns. A nil name means that the
	// output's keys determine the column, see Plan.Values.
	Fields [][]byte
}

// FindStored returns where the sink holds some columns. It returns false if no output holds them
// all for as long as the row exists: a key that expires does not. key are the columns that identify
// a row.
func (p *Plan) FindStored(key, columns []int) (StoredColumns, bool) {
	determined := p.LocationColumns()
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.kind != Hash || o.member != nil || o.expiry != nil || !p.IsLocatedBy(i, key) ||
			!containsAll(determined[i], key) {
			continue
		}
		at := StoredColumns{Output: i}
		for _, k := range columns {
			field := p.fieldOf(k)
			isInKey := slices.Contains(determined[i], k)
			if field == nil && !isInKey {
				break
			}
			if isInKey {
				field = nil
			}
			at.Fields = append(at.Fields, field)
		}
		if len(at.Fields) == len(columns) {
			return at, true
		}
	}
	return StoredColumns{}, false
}

// HasWhere reports whether the plan may reject rows.
func (p *Plan) HasWhere() bool { return p.where != nil }

// IsLocated reports whether the key of a row determines all locations of the row.
func (p *Plan) IsLocated(key []int) bool {
	for i := range p.outputs {
		if !p.IsLocatedBy(i, key) {
			return false
		}
	}
	return true
}

// fieldOf returns the name of the field that holds a column; nil without one.
func (p *Plan) fieldOf(column int) []byte {
	for i := range p.fields.columns {
		if c := &p.fields.columns[i]; c.column == column {
			_, name, _ := bytes.Cut(c.bulk, []byte("\r\n"))
			return bytes.TrimSuffix(name, []byte("\r\n"))
		}
	}
	return nil
}

func containsAll(list, wanted []int) bool {
	return !slices.ContainsFunc(wanted, func(k int) bool { return !slices.Contains(list, k) })
}

// HasPlainText reports whether equal values of a column have equal texts in every table: those of
// the integer types.
func HasPlainText(c *binlog.Column) bool {
	return c.Type.IsInteger() && c.Unreadable == "" &&
		!bytes.Contains(bytes.ToLower([]byte(c.SQLType)), []byte("zerofill"))
}
