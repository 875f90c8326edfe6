package transform

import "fmt"

// MappingError is a fault of the mapping, found before any row is read.
type MappingError struct {
	// Path is the YAML path (tables."shop.users".where); Line is 0 if unknown.
	Path string
	Line int
	// Message is one sentence: what is wrong and what to do.
	Message string
}

// Error returns "line N: path: message".
func (e *MappingError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Message)
}

// MappingErrors returns every *MappingError within err, whether wrapped or joined, in order.
func MappingErrors(err error) []*MappingError {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case nil:
		return nil
	case *MappingError:
		return []*MappingError{e}
	case interface{ Unwrap() error }:
		return MappingErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*MappingError
		for _, inner := range e.Unwrap() {
			all = append(all, MappingErrors(inner)...)
		}
		return all
	}
	return nil
}

// NotMappedError says why a table that a wildcard matches is left out.
type NotMappedError struct {
	Table, Reason string
}

// Error returns "table is not mapped: reason".
func (e *NotMappedError) Error() string { return e.Table + " is not mapped: " + e.Reason }

// RowError is a row that the mapping cannot turn into commands.
type RowError struct {
	// Table is database.table; Column may be empty; Output is the YAML path of
	// the output or expression; Key shows which row.
	Table, Column, Output, Key, Reason string
}

// Error returns one sentence.
func (e *RowError) Error() string {
	s := e.Table
	if e.Key != "" {
		s += " row " + e.Key
	}
	if e.Column != "" {
		s += ", column " + e.Column
	}
	return s + ": " + e.Reason + " (" + e.Output + ")"
}
