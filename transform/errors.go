package transform

import (
	"errors"
	"fmt"
)

// MappingError is a fault of the mapping. Faults are found when the mapping is validated or
// compiled, before any row is transformed.
type MappingError struct {
	// Path is the YAML path of the fault: tables."shop.users".where.
	Path string
	// Line is the line in the pipeline file, counted from 1; 0 if unknown.
	Line int
	// Message is one sentence: the fault, then the remedy.
	Message string
}

// Error returns "line N: path: message", without the line if it is unknown.
func (e *MappingError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Message)
}

// MappingErrors returns every *MappingError within err, wrapped or joined, in their order.
func MappingErrors(err error) []*MappingError {
	switch e := err.(type) { //nolint:errorlint // the function walks the tree of errors itself
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

// NotMappedError is returned for a table that only a wildcard names, and whose rows cannot be
// mapped. Callers report the table and continue without it.
type NotMappedError struct {
	// Table is database.table.
	Table, Reason string
}

// Error returns "table is not mapped: reason".
func (e *NotMappedError) Error() string { return e.Table + " is not mapped: " + e.Reason }

// RowError is returned for a row that cannot be turned into commands.
type RowError struct {
	// Table is database.table.
	Table string
	// Key is the values of the row's key, quoted and with : between them.
	Key string
	// Column is the name of the column with the fault, empty if no single column has it.
	Column string
	// Output is the YAML path of the output or of the expression, or that of the limit of a value
	// that is too long.
	Output string
	Reason string
	// OnError is what the mapping wants to happen: on_error, or too_long for a value that is too
	// long.
	OnError OnError
}

// Error returns "table row key, column name: reason (output)".
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

// settingError is a fault of one setting of an output. Its text is that of the fault alone; the
// name becomes a part of the fault's YAML path.
type settingError struct {
	name string // such as member; empty for an output that the file does not have
	err  error
}

func (e *settingError) Error() string { return e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// inSetting returns err as a fault of a setting. It returns nil for nil.
func inSetting(name string, err error) error {
	if err == nil {
		return nil
	}
	return &settingError{name, err}
}

// settingPath returns the path of the setting that has the fault err, in the output at path. It
// returns path itself if err is not the fault of one setting.
func settingPath(path string, err error) string {
	if e := new(settingError); errors.As(err, &e) && e.name != "" {
		return path + "." + e.name
	}
	return path
}
