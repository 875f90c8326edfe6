package transform

import "fmt"

// Error is a fault of the mapping, found before any row is read.
type Error struct {
	// Path is the YAML path (tables."shop.users".where); Line is 0 if unknown.
	Path string
	Line int
	// Message is one sentence: what is wrong and what to do.
	Message string
}

// Error returns "line N: path: message".
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Message)
}

// Errors returns every *Error within err, whether wrapped or joined, in order.
func Errors(err error) []*Error {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() error }:
		return Errors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*Error
		for _, inner := range e.Unwrap() {
			all = append(all, Errors(inner)...)
		}
		return all
	}
	return nil
}

// NotMapped says why a table that a wildcard matches is left out.
type NotMapped struct {
	Table, Reason string
}

// Error returns "table is not mapped: reason".
func (e *NotMapped) Error() string { return e.Table + " is not mapped: " + e.Reason }

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
