// Package events parses the bytes of binlog events into the events of package binlog: rows of
// mapped tables, commits, statements and progress.
//
// It does no I/O and starts no goroutine: binlog/dump reads the bytes from a server, binlog/files
// from disk. Rows are views of the event's bytes, so parsing costs no allocation per row or per
// transaction.
//
// An event's header has only the low 32 bits of the event's offset in its file; the parser keeps
// all 64. An event of an unknown type is an error that names the position and the remedy. The
// parser ignores only events of tables that Tables does not map, and events with the flag
// LOG_EVENT_IGNORABLE_F.
//
// # Transactions
//
//	        GTID event        BEGIN             rows*
//	idle --------------> gtid ----------> open ---------> open
//	  ^                    |                |
//	  |                    | DDL            | XID, COMMIT, XA PREPARE (one phase)
//	  +--------------------+----------------+
//
// MariaDB's GTID event opens the transaction itself, unless its flag FL_STANDALONE is set. Servers
// without GTIDs go from idle to open directly. A compressed transaction (TRANSACTION_PAYLOAD_EVENT)
// is the same sequence without the GTID event, in one event. A statement within a transaction
// (CREATE TABLE ... SELECT) is yielded with InTransaction set, before the position includes it.
//
// A server sends no part of a transaction before all of it is in the file. Only a crash leaves the
// beginning of a transaction at the end of a file: MySQL cuts it off when it starts again, MariaDB
// does not. That transaction was never committed, but some of its rows may have been yielded, so it
// is reported as an error.
//
// The parser keeps the binlog.Evidence of each transaction (evidence.go), with which its callers
// detect that a server has reused a GTID or an offset.
//
// # XA transactions
//
// XA transactions are supported when they are committed in one phase, and when they change no
// mapped table. In two phases, the rows are in the binlog before it is known whether the
// transaction will be committed, so rows of mapped tables are rejected. XATransactions holds the
// prepared transactions without such rows. It outlives the connection but not the process: after a
// restart, an XA COMMIT is rejected whose XA PREPARE lies before the starting position. Rows of a
// table that a binlog.Skip leaves out can be prepared; the XA COMMIT is rejected unless a Skip
// leaves out the same table, because only the XA COMMIT makes the rows visible.
//
// # Files
//
// The package is longer than others, because the meaning of an event depends on the events before
// it, and all of them meet in parser.go. file_events.go, transaction.go, query.go, rows.go and
// tablemap.go handle one group of event types each; header.go, cursor.go, charset.go, payload.go,
// statusvars.go and clienttext.go read bytes; logged.go reads the table that a table map with full
// metadata describes; skip.go, evidence.go and leftout.go decide which transactions are yielded.
package events
