package binlog

// RefusedError says that something in the binlog, or the place to read it from,
// is not followed, and that reading the same bytes again would end the same: the
// server's settings, the mapping or the position must change first. Its text says
// how. What a torn connection or a damaged disk may have done is none.
type RefusedError struct {
	// After is the end of the event before the one that is refused, as file and
	// offset; the zero Position where that is not known.
	After Position
	// Table is the table concerned, as "database.table", empty if it is none or
	// several.
	Table string
	Err   error
}

// Error returns the cause's text, which names place and table too.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }
