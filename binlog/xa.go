package binlog

// XAStep is what an event does to an XA transaction in two phases.
type XAStep uint8

// The steps of an XA transaction.
const (
	// XAPart comes within a transaction: some of its rows, before it is known whether it is
	// prepared.
	XAPart XAStep = iota + 1
	// XAPrepare ends the first phase. The rows are not visible yet.
	XAPrepare
	// XACommit ends the transaction, and its rows are visible. It is also the end of a transaction
	// that was committed in one phase, if XAPart events came before.
	XACommit
	// XARollback ends a prepared transaction, and its rows never become visible.
	XARollback
)

// XA describes the step of an XA transaction.
type XA struct {
	Step XAStep
	// XID identifies the transaction, in the form in which servers log it, such as
	// X'gtrid',X'bqual',1. It is empty for XAPart, and for a transaction that was committed in one
	// phase.
	XID string
	// Events are events to keep until the XA COMMIT, after those of the XAPart events of the same
	// transaction. They are valid until the next call of the stream's Next.
	Events []byte
	// Tables are the tables whose rows are kept, as database.table. They are set for XAPrepare.
	Tables []string
	// Missing are tables that the transaction has changed and whose rows are not kept.
	Missing []string
	// TooLarge is set for XAPrepare and XACommit if the transaction has more rows than are kept:
	// then no row is kept, and Missing has all tables.
	TooLarge bool
}
