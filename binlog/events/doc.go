// Package events turns the bytes of binlog events into the events of package
// binlog: rows of mapped tables, commits, statements, progress.
//
// It does no I/O and starts no goroutine; binlog/dump brings the bytes from a
// server. Rows are handed on as views over the bytes that came: parsing costs no
// allocation per row or per transaction.
//
// The offset is 64 bits wide although an event's own is 32. What is not
// understood is an error that names the place and the remedy; nothing is skipped
// but events of tables that Tables does not map and events that say of
// themselves that they may be ignored.
//
// # Transactions
//
//	        GTID            BEGIN             rows*
//	idle ----------> named ----------> open ---------> open
//	  ^                |                 |
//	  |                | DDL             | XID, COMMIT, XA PREPARE (one phase)
//	  +----------------+-----------------+
//
// MariaDB's GTID event itself opens the transaction unless it is flagged
// standalone; servers without GTID go from idle to open directly. A compressed
// transaction (TRANSACTION_PAYLOAD) is the same sequence without the GTID, in
// one event. A Statement within a transaction (CREATE TABLE ... SELECT) is
// yielded where it stands and moves the position no earlier than the commit.
//
// Servers send no part of a transaction before all of it is in the file, so what
// was begun ends within the same connection's bytes. Only a crash leaves the
// beginning of one at a file's end: MySQL cuts it off when it starts again,
// MariaDB does not. It never counted, yet rows of it may have been yielded
// already: it is an error.
//
// Of every transaction the parser keeps what identifies it (evidence.go), so that its
// callers can tell whether a server has used a GTID or an offset again.
//
// XA transactions are followed when they are committed in one phase, and when
// they touch no mapped table. The rows of others are in the binlog before it is
// known whether they will ever count, so they are refused. That a commit is of one
// without such rows is known from its PREPARE: XATransactions carries it over from one
// connection to the next, but not to another process, which refuses the commit if
// the PREPARE lies before the position that it starts from.
//
// The package is longer than most here, since what an event means depends on those
// before it, which all end in parser.go. The layouts of single events are files of
// their own: header.go, tablemap.go, rows.go, query.go, payload.go.
package events
