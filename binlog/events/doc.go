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
// (CREATE TABLE ... SELECT) is yielded with InTransaction set, before the position includes it. So
// is a statement whose changes of rows were logged as its text (binlog.RowStatement).
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
// In two phases, the rows of an XA transaction are in the binlog before it is known whether the
// transaction will be committed. If Tables implements Prepared, such rows are not yielded then: the
// parser yields their events as bytes (Event.XA), which its caller keeps. At the XA COMMIT the
// parser requests these bytes from Prepared, and yields their rows before the Commit. MySQL logs a
// transaction in one phase in the same form and names the phase at the end, so its rows are yielded
// at the end.
//
//	XA START   rows*   XA PREPARE      ...      XA COMMIT
//	           XAPart* XAPrepare                rows*, XACommit
//
// Table maps are looked up at the XA COMMIT, too. An XA COMMIT that Prepared does not find is an
// *UnpreparedError. Without Prepared, rows are yielded at the XA PREPARE.
//
// # Files
//
// The package is longer than others, because the meaning of an event depends on the events before
// it, and all of them meet in parser.go. file_events.go, format.go, transaction.go, query.go,
// xa.go, rows.go and tablemap.go handle one group of event types each; prepared.go keeps and
// replays the rows of XA transactions; header.go, cursor.go, charset.go, payload.go, statusvars.go
// and clienttext.go read bytes; logged.go reads the table that a table map with full metadata
// describes; skip.go, evidence.go and leftout.go decide which transactions are yielded.
package events
