package source

import "fmt"

// StopError is a failure that a retry cannot correct: first the mapping, the schema or the data
// must change. Its text names the remedy.
type StopError struct{ Err error }

// Error returns the cause's text.
func (e *StopError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

// Stopf returns a StopError with a text as fmt.Errorf makes it: "%w" wraps a cause.
func Stopf(format string, args ...any) error { return &StopError{fmt.Errorf(format, args...)} }
