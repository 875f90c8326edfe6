package binlog

// RefusedError is returned for events, tables and positions that are not supported. A
// retry fails in the same way: the server's settings, the mapping or the position must
// change first, and the error's text names the remedy. Errors that a broken connection or a
// damaged disk can cause are never RefusedErrors, because a retry may succeed.
type RefusedError struct {
	// After is the end of the event before the rejected one, as file and offset; the
	// zero Position where the end is unknown.
	After Position
	// Table is the affected table, as "database.table"; empty where no table, or more
	// than one, is affected.
	Table string
	Err   error
}

// Error returns the cause's text, which names the position and the table.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }
