package binlog

// Op is what happened to a row.
type Op uint8

// The three things that can happen to a row.
const (
	Insert Op = iota + 1
	Update
	Delete
)

// String returns "insert", "update" or "delete".
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return "unknown"
}

// Change is one changed row: its old and its new image. Before is nil for an insert,
// After is nil for a delete. Both are views, valid until the next call that advances
// the event or the stream that they came from.
type Change struct {
	Table  *Table
	Op     Op
	Before *Row
	After  *Row
}

// Kind is the kind of an Event; it decides which fields of the Event are filled.
type Kind uint8

// The kinds of Event. Within a transaction, a stream yields any number of Changes, RowStatements
// and PreparedRows, and then a Commit. Progress and Statement come between transactions; only the
// Statement of a CREATE TABLE ... SELECT comes before the rows of its transaction.
const (
	// Changes carries the rows of one rows event of a mapped table.
	Changes Kind = iota + 1
	// Commit ends a transaction; the stream's position includes it.
	Commit
	// Statement carries a statement that is logged as text (DDL and the like). The
	// stream's position includes it, unless the statement is part of a transaction.
	Statement
	// Progress reports, between transactions, that the position has moved or that no
	// event has come for a heartbeat period.
	Progress
	// PreparedRows carries rows of an XA transaction that are not visible yet, see Event.XA.
	PreparedRows
	// RowStatement carries a statement of a transaction whose changes of rows are logged as its
	// text, instead of as rows (binlog_format=STATEMENT or MIXED): an INSERT, for example. Which
	// tables it changes is not known.
	RowStatement
)

// Event is one step of a stream of changes. It is valid until the next call of the
// stream's Next.
type Event struct {
	Kind Kind
	// Time is the commit time on the transaction's original server, in microseconds
	// since 1970; in whole seconds where the server logs no fraction.
	Time int64

	// InTransaction is set while the event's transaction is open: the stream's position does not
	// include the event yet. It is set for Changes and RowStatements, and for a Statement that
	// comes before the rows of its own transaction (CREATE TABLE ... SELECT).
	InTransaction bool

	// Database (the session's default), SQL and Session belong to a Statement or RowStatement. SQL
	// is UTF-8, without MariaDB's SET STATEMENT ... FOR prefix.
	Database string
	SQL      string
	Session  Session

	// Rows belongs to Changes.
	Rows Rows
	// ForeignKeysOff belongs to Changes: the rows were changed with foreign_key_checks=0, so that
	// no foreign key has changed rows of other tables.
	ForeignKeysOff bool

	// Skipped is set for the Commit and the Statements of a transaction that is left out because of
	// a Skip. It contains what was found up to this event. It is also set for a Progress whose
	// position has moved past transactions that the binlog does not contain.
	Skipped *Skipped

	// XA is set for PreparedRows, and for the Commit that prepares or ends an XA transaction in two
	// phases.
	XA *XA
	// RolledBack is set for the Commit of a transaction that was rolled back, entirely or to a
	// savepoint, after rows of mapped tables were yielded. Rows of tables of an engine without
	// transactions stayed; the binlog does not show which rows these are.
	RolledBack bool
}
