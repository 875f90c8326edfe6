package dump

import (
	"strings"

	"rowfall/binlog/mysql"
)

// GTIDModeError is returned when gtid_mode of a MySQL was changed. The server does not send
// transactions without GTIDs while the mode is ON, or to a stream that was opened at a GTID set. It
// does not send transactions with GTIDs while the mode is OFF. A stream that is opened after the
// mode was changed back by one step receives them.
type GTIDModeError struct{ err error }

// Error returns the server's error and the remedy.
func (e *GTIDModeError) Error() string {
	return e.err.Error() + "; gtid_mode of the server was changed: if this lasts, set it to " +
		"ON_PERMISSIVE (before ON) or OFF_PERMISSIVE (before OFF) until the pipeline has passed " +
		"this place"
}

// Unwrap returns the server's error.
func (e *GTIDModeError) Unwrap() error { return e.err }

// isOfGTIDMode reports whether the server does not send a transaction because of its gtid_mode.
func isOfGTIDMode(e *mysql.ServerError) bool {
	return strings.Contains(e.Message, "Cannot replicate anonymous transaction") ||
		strings.Contains(e.Message, "Cannot replicate GTID-transaction")
}
