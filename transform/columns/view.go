// Package columns is the one place where the values of a row are read that may leave: for keys,
// templates, expressions, JSON and hashes. So what a user withholds from the sink is withheld in
// every form of it.
//
// The package does no I/O. transform and its languages, template and expression, import it.
package columns

import (
	"fmt"

	"rowfall/binlog"
)

// View is the columns of one table version as they may leave. Compile it once for each table
// version; afterwards it is immutable, and any number of goroutines may use it.
type View struct {
	table    *binlog.Table
	excluded []bool // nil if every column may leave
}

// New returns a view of a table whose columns may all leave.
func New(t *binlog.Table) *View { return &View{table: t} }

// Exclude withholds a column.
func (v *View) Exclude(column int) {
	if v.excluded == nil {
		v.excluded = make([]bool, len(v.table.Columns))
	}
	v.excluded[column] = true
}

// Unrestricted returns a view of the same table in which no column is withheld. It is for
// conditions, whose results alone reach the sink.
func (v *View) Unrestricted() *View { return New(v.table) }

// Table returns the table version.
func (v *View) Table() *binlog.Table { return v.table }

// IsExcluded reports whether a column is withheld.
func (v *View) IsExcluded(column int) bool { return v.excluded != nil && v.excluded[column] }

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
func (v *View) IsNull(r *binlog.Row, column int) bool { return r.IsNull(column) }

// AppendText appends the text of a column that Check accepts, as MySQL prints it.
func (v *View) AppendText(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	return r.AppendText(dst, column)
}

// AppendJSON appends a column that Check accepts as a JSON value.
func (v *View) AppendJSON(dst []byte, r *binlog.Row, column int) ([]byte, error) {
	return r.AppendJSON(dst, column)
}

// Int64 returns the value of a column that Check accepts and that holds integers of 64 bits. ok is
// false for a value that is none.
func (v *View) Int64(r *binlog.Row, column int) (n int64, ok bool) { return r.Int64(column) }

// Column describes the values of a column as they may leave. The caller must not change it.
func (v *View) Column(column int) *binlog.Column { return &v.table.Columns[column] }
