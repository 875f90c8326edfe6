package binlog

import (
	"fmt"
	"strings"
)

// UnsentError is the cause of a RefusedError for an event that is larger than the server can send.
// RefusedError.After is the offset at which the event begins.
type UnsentError struct {
	// Tables are the tables, as database.table, of the statement that the event belongs to. It is
	// empty if the event is outside of a transaction that is being read.
	Tables []string
	// Err is the server's error.
	Err error
}

// Error returns the server's error and the tables.
func (e *UnsentError) Error() string {
	if len(e.Tables) == 0 {
		return fmt.Sprintf("the next event is larger than the server can send: %v", e.Err)
	}
	return fmt.Sprintf("the next event, with rows of %s, is larger than the server can send: %v",
		strings.Join(e.Tables, ", "), e.Err)
}

// Unwrap returns the server's error.
func (e *UnsentError) Unwrap() error { return e.Err }
