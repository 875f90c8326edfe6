package template

import (
	"rowfall/binlog"
	"rowfall/transform/columns"
)

// Template is the template of a key, field, member or value, bound to the columns of one table
// version. It is immutable: any number of goroutines may use it.
type Template struct {
	// Source is the text that the template was parsed from.
	Source   string
	segments []segment
	view     *columns.View
}

// segment is a part of a template: literal text, or a column with its filters.
type segment struct {
	literal []byte
	column  int // index in Table.Columns, or -1 for literal text
	filters []filter
	// escape is set if % and : are printed as %25 and %3A.
	escape bool
	// alphabet holds the bytes that a column may print, tail those that it may print after its
	// first byte. Only Overlap and Determines use them.
	alphabet, tail byteSet
	// injective is set if different values of the column print different texts.
	injective bool
}

// ColumnError is returned if the value of a column cannot be printed.
type ColumnError struct {
	// Column is an index in Table.Columns.
	Column int
	Err    error
}

// Error returns the cause's text.
func (e *ColumnError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ColumnError) Unwrap() error { return e.Err }

// Append appends the template's text for a row of the table that the template was parsed for. A
// NULL prints nothing. An error is a *ColumnError; the text so far is appended then.
func (t *Template) Append(dst []byte, r *binlog.Row) ([]byte, error) {
	var err error
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 {
			dst = append(dst, s.literal...)
			continue
		}
		if dst, err = s.render(dst, t.view, r); err != nil {
			return dst, &ColumnError{s.column, err}
		}
	}
	return dst, nil
}

// render appends the text of a column, filtered and escaped.
func (s *segment) render(dst []byte, v *columns.View, r *binlog.Row) ([]byte, error) {
	if v.IsNull(r, s.column) {
		return dst, nil
	}
	from := len(dst)
	dst, err := v.AppendText(dst, r, s.column)
	if err != nil {
		return dst, err
	}
	for i := range s.filters {
		end := len(dst)
		if dst, err = s.filters[i].run(dst, from); err != nil {
			return dst, err
		}
		dst = dst[:from+copy(dst[from:], dst[end:])]
	}
	if s.escape {
		dst = escapeTail(dst, from)
	}
	return dst, nil
}

// escapeTail replaces % and : in dst[from:] by %25 and %3A. It goes from the end backwards, so that
// it needs no second buffer.
func escapeTail(dst []byte, from int) []byte {
	n := 0
	for _, c := range dst[from:] {
		if c == '%' || c == ':' {
			n++
		}
	}
	if n == 0 {
		return dst
	}
	read := len(dst)
	dst = append(dst, make([]byte, 2*n)...)
	for write := len(dst); read > from; {
		read--
		switch c := dst[read]; c {
		case '%', ':':
			write -= 3
			dst[write], dst[write+1], dst[write+2] = '%', '2', '5'
			if c == ':' {
				dst[write+1], dst[write+2] = '3', 'A'
			}
		default:
			write--
			dst[write] = c
		}
	}
	return dst
}

// SingleColumn returns the column if the template is one column without literal text, else -1.
func (t *Template) SingleColumn() int {
	if len(t.segments) == 1 {
		return t.segments[0].column
	}
	return -1
}

// Columns appends the indexes of the columns that the template prints, in the order of the text. A
// column that is printed twice is appended twice.
func (t *Template) Columns(dst []int) []int {
	for i := range t.segments {
		if c := t.segments[i].column; c >= 0 {
			dst = append(dst, c)
		}
	}
	return dst
}
