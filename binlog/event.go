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

// Change is one row as it was and as it is. Before is nil for an insert, After
// is nil for a delete. Both are views that live until the next call that
// advances the event or the stream they came from.
type Change struct {
	Table  *Table
	Op     Op
	Before *Row
	After  *Row
}

// Kind says which part of an Event is filled.
type Kind uint8

// The kinds of Event, in the order a stream yields them within a transaction:
// Changes*, then Commit. Progress stands between transactions, and so does
// Statement but for one: that of CREATE TABLE ... SELECT comes before its rows.
const (
	// Changes carries the rows of one rows event of a mapped table.
	Changes Kind = iota + 1
	// Commit ends a transaction; the stream's position includes it.
	Commit
	// Statement carries a statement that is logged as text (DDL and the like);
	// the stream's position includes it, unless it stands within a transaction.
	Statement
	// Progress says that the position moved, or that nothing came for a
	// heart-beat's time, outside of any transaction.
	Progress
)

// Event is one step of a stream of changes. It is valid until the stream's next
// Next.
type Event struct {
	Kind Kind
	// Time is when the transaction committed on its first server, in
	// microseconds since 1970; whole seconds where the server knows no more.
	Time int64

	// Database and SQL belong to a Statement. SQL is UTF-8, and without MariaDB's
	// SET STATEMENT ... FOR in front of it.
	Database string
	SQL      string

	// Rows belongs to Changes.
	Rows Rows
}
