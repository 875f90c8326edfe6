// Package columns is the one place where the values of a row are read that may leave: for keys,
// templates, expressions, JSON and hashes. So what a user withholds from the sink (exclude), masks
// (mask) or limits (max_bytes) is withheld, masked or limited in every form.
//
// view.go has View, through which values are read; mask.go and limit.go have the masks and the
// limits.
//
// The package does no I/O. transform and its languages, template and expression, import it.
package columns

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/transform/suggest"
)

// View is the columns of one table version as they may leave. Compile it once for each table
// version; afterwards it is immutable, and any number of goroutines may use it.
type View struct {
	table    *binlog.Table
	excluded []bool // nil if every column may leave
	// changed holds the restriction of each column whose values are masked or limited; nil if no
	// column is.
	changed []*restriction
	// fields has the column of each new name that columns.rename gives to a field.
	fields map[string]string
}

// New returns a view of a table whose columns may all leave.
func New(t *binlog.Table) *View { return &View{table: t} }

// NameFields tells the view the new names of columns.rename, by column. They serve messages only.
func (v *View) NameFields(rename map[string]string) {
	v.fields = make(map[string]string, len(rename))
	for column, field := range rename {
		v.fields[field] = column
	}
}

// Hint returns the end of a message about a name that is no column: the column that columns.rename
// gives this name, else the nearest name among the columns and others.
func (v *View) Hint(name string, others ...string) string {
	if column := v.fields[name]; column != "" {
		return fmt.Sprintf("; columns.rename makes %s the name of the field alone: write %s, "+
			"the column's name", name, column)
	}
	return suggest.DidYouMean(name, append(v.table.ColumnNames(), others...))
}

// Exclude withholds a column.
func (v *View) Exclude(column int) {
	if v.excluded == nil {
		v.excluded = make([]bool, len(v.table.Columns))
	}
	v.excluded[column] = true
}

// Mask masks a column, unless it has a stronger mask. The masked values are text; truncate leaves
// bytes as bytes. Call Mask before Limit.
func (v *View) Mask(column int, m Mask, s Salt) {
	x := v.restrict(column)
	if !m.IsStronger(x.mask) {
		return
	}
	from := &v.table.Columns[column]
	x.mask, x.isBytes = m, m.kind == truncate && from.Extent() == binlog.ExtentBytes
	if x.isBytes {
		x.column = *from
		return
	}
	x.column = binlog.Column{
		Name: from.Name, SQLType: "masked text", Type: binlog.TypeVarchar, Charset: "utf8mb4",
		Nullable: from.Nullable, Invisible: from.Invisible, Generated: from.Generated,
	}
	switch m.kind {
	case hash:
		x.key, x.column.Length = newHMACKey(s), 64
	case redact:
		x.column.Length = len(redacted)
	default:
		x.column.Length = min(m.length, max(from.TypicalLength(), 1))
	}
}

// Limit limits the bytes of a column's values. An error is a sentence about a column that cannot
// have a limit, or not with this reaction.
func (v *View) Limit(column, bytes int, t TooLong) error {
	col := v.Column(column)
	extent := col.Extent()
	if extent == binlog.ExtentShort {
		return fmt.Errorf("the column %s is %s, whose values are never long; "+
			"max_bytes is for text, bytes, JSON and vectors", col.Name, col.SQLType)
	}
	if t == Cut && extent == binlog.ExtentWhole {
		return fmt.Errorf("the column %s is %s, of which a part has no meaning; "+
			"set too_long to omit, quarantine, dead_letter or stop", col.Name, col.SQLType)
	}
	x := v.restrict(column)
	x.limit, x.tooLong, x.isBytes = bytes, t, extent == binlog.ExtentBytes
	if t == Omit {
		x.column.Nullable = true
	}
	return nil
}

// restrict returns the restriction of a column, which is new if the column had none.
func (v *View) restrict(column int) *restriction {
	if v.changed == nil {
		v.changed = make([]*restriction, len(v.table.Columns))
	}
	if v.changed[column] == nil {
		v.changed[column] = &restriction{column: v.table.Columns[column]}
	}
	return v.changed[column]
}

// ForConditions returns a view of the same table for conditions. Masks apply in the view, but no
// column is withheld or limited, because only the result of a condition affects the sink.
func (v *View) ForConditions() *View {
	out := New(v.table)
	out.fields = v.fields
	for i, x := range v.changed {
		if x == nil || x.mask.kind == noMask {
			continue
		}
		y := out.restrict(i)
		*y = *x
		y.limit, y.tooLong, y.column.Nullable = 0, Reject, v.table.Columns[i].Nullable
	}
	return out
}

// Table returns the table version.
func (v *View) Table() *binlog.Table { return v.table }

// IsExcluded reports whether a column is withheld.
func (v *View) IsExcluded(column int) bool { return v.excluded != nil && v.excluded[column] }

// IsMasked reports whether a column is masked.
func (v *View) IsMasked(column int) bool {
	return v.changed != nil && v.changed[column] != nil && v.changed[column].mask.kind != noMask
}

// CheckMasked returns the reason why no masked value of a column can equal a text; empty if a
// masked value can, and for a column without a mask.
func (v *View) CheckMasked(column int, text string) string {
	if !v.IsMasked(column) || v.changed[column].limit > 0 {
		return ""
	}
	x := v.changed[column]
	return x.mask.check(text, x.isBytes)
}

// PrintsHex reports whether the values of a column are hexadecimal digits in lower case: those of a
// sha256 mask.
func (v *View) PrintsHex(column int) bool {
	return v.IsMasked(column) && v.changed[column].mask.kind == hash &&
		(v.changed[column].limit == 0 || v.changed[column].tooLong != Cut)
}

// IsOneToOne reports whether different values of a column leave as different texts, from which the
// values can be found: the column is neither masked nor cut.
func (v *View) IsOneToOne(column int) bool {
	if v.changed == nil || v.changed[column] == nil {
		return true
	}
	x := v.changed[column]
	return x.mask.kind == noMask && x.tooLong != Cut
}

// Check returns an error if a column is withheld, so that nothing which leaves may read it. The
// error names the remedy.
func (v *View) Check(column int) error {
	if !v.IsExcluded(column) {
		return nil
	}
	return fmt.Errorf("the column %s is excluded and must not be published; "+
		"take it out of exclude, or list the fields with include", v.table.Columns[column].Name)
}

// IsNull reports whether the value of a column that Check accepts is NULL.
func (v *View) IsNull(r *binlog.Row, column int) bool {
	if v.changed != nil && v.changed[column] != nil {
		return v.changed[column].isNull(r, column)
	}
	return r.IsNull(column)
}

// AppendText appends the text of a column that Check accepts: what MySQL prints, unless the column
// is masked or cut. It appends nothing for NULL. The error is a *TooLongError for a value beyond
// its limit.
func (v *View) AppendText(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	if v.changed != nil && v.changed[column] != nil && !r.IsNull(column) {
		return v.changed[column].appendText(dst, r, column)
	}
	return r.AppendText(dst, column)
}

// Text returns the text that AppendText would append, as a part of the row's bytes. ok is false if
// the text must be computed, and for NULL.
func (v *View) Text(r *binlog.Row, column int) (text []byte, ok bool) {
	if v.changed != nil && v.changed[column] != nil {
		return nil, false
	}
	return r.Text(column)
}

// Texts returns the texts of all columns, nil for a NULL, if Text would return each of them; else
// nil. Only the columns that Check accepts may leave.
func (v *View) Texts(r *binlog.Row) [][]byte {
	if v.changed != nil {
		return nil
	}
	return r.Texts()
}

// AppendJSON appends a column that Check accepts as a JSON value.
func (v *View) AppendJSON(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	if v.changed != nil && v.changed[column] != nil {
		return v.changed[column].appendJSON(dst, r, column)
	}
	return r.AppendJSON(dst, column)
}

// AppendShown appends a column's text as messages may show it: masked, and without the values of
// columns that are withheld.
func (v *View) AppendShown(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	switch {
	case v.IsExcluded(column):
		return append(dst, "(excluded)"...), nil
	case v.IsMasked(column):
		return v.AppendText(dst, r, column)
	}
	return r.AppendText(dst, column)
}

// Int64 returns the value of a column that Check accepts and that holds integers of 64 bits. ok is
// false for NULL, and for a number beyond int64.
func (v *View) Int64(r *binlog.Row, column int) (n int64, ok bool) { return r.Int64(column) }

// Column describes the values of a column as they may leave. The caller must not change it.
func (v *View) Column(column int) *binlog.Column {
	if v.changed != nil && v.changed[column] != nil {
		return &v.changed[column].column
	}
	return &v.table.Columns[column]
}
