package template

import "rowfall/binlog"

// Template is a compiled key, field, member or value: literals and columns.
type Template struct {
	// Source is the text it was parsed from.
	Source   string
	segments []segment
}

// segment is literal text or, where column is not negative, a column.
type segment struct {
	literal []byte
	column  int
	filters []filter
	// escape makes % and : of a part %25 and %3A.
	escape bool
	// alphabet holds the bytes the segment may print, tail those after the
	// first; both matter to uniqueness and conflicts only.
	alphabet, tail byteSet
	// injective is set where different values print differently.
	injective bool
}

// ColumnError is a column that could not be rendered.
type ColumnError struct {
	Column int
	Err    error
}

// Error returns the cause's text.
func (e *ColumnError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ColumnError) Unwrap() error { return e.Err }

// Append appends the template's text for a row of the table it was parsed for. A
// NULL prints nothing. It fails with a *ColumnError. Any goroutine may call it.
func (t *Template) Append(dst []byte, r *binlog.Row) ([]byte, error) {
	var err error
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 {
			dst = append(dst, s.literal...)
			continue
		}
		if dst, err = s.render(dst, r); err != nil {
			return dst, &ColumnError{s.column, err}
		}
	}
	return dst, nil
}

func (s *segment) render(dst []byte, r *binlog.Row) ([]byte, error) {
	if r.IsNull(s.column) {
		return dst, nil
	}
	from := len(dst)
	dst, err := r.AppendText(dst, s.column)
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

// escapeTail makes % and : in dst[from:] %25 and %3A, from the end backwards so
// that it needs no second buffer.
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

// SingleColumn returns the column where the template is one column and nothing else,
// or -1.
func (t *Template) SingleColumn() int {
	if len(t.segments) == 1 {
		return t.segments[0].column
	}
	return -1
}

// Columns appends the columns that the template prints, in order.
func (t *Template) Columns(dst []int) []int {
	for i := range t.segments {
		if c := t.segments[i].column; c >= 0 {
			dst = append(dst, c)
		}
	}
	return dst
}
