// Package query reads from a server with SELECT and SHOW: schemas, foreign keys, grants and
// settings, the end of the binlog, and the rows of a table in chunks, in the order of a key.
//
// Read is the reading half of reconciliation. MySQL writes a transaction to the binlog before its
// engine commit makes it visible, so a plain SELECT can miss changes that the stream has applied
// long ago. Read makes sure that the rows include all that the stream had applied, and returns a
// fence: a position such that the rows hold nothing that lies after it in the binlog. It waits for
// the GTIDs (MySQL with GTIDs), takes shared locks (MySQL without), or opens a consistent snapshot
// whose position the server reports (MariaDB). Scan does the same for all rows of a table at once.
// On a replica of the stream's server, the fence is a set of GTIDs (replica.go).
//
// Tables sets Table.NotFollowed where the rows in the binlog are not the rows that the table holds
// (engines.go). A user sees only the tables on which a privilege is granted, so the UNION of a
// MERGE table that the user cannot see is unknown. The results of SHOW GRANTS and SHOW CREATE TABLE
// depend on the session variables that binlog/mysql sets, above all sql_quote_show_create.
//
// The package has more files than others, because each kind of query has a file of its own.
//
// Settings of the server:
//
//   - check.go: what a server and a user must have to be followed; grants.go: privileges
//   - warnings.go: settings that can cost data or time later; formats.go: those of the format of
//     events; filter.go: binlog_do_db and binlog_ignore_db
//   - end.go: the end of the binlog, and the server's clock; purged.go: the binlog's files
//   - gtid.go: the GTIDs that a server lacks; replica.go: whether rows can be read from a replica
//
// Definitions:
//
//   - tables.go: Tables, from information_schema; columntype.go: the types of columns;
//     engines.go: the engines whose tables are not followed
//   - definition.go: Definition, from SHOW CREATE TABLE; metadatalock.go: waits for statements
//     that alter a table
//   - foreignkey.go: foreign keys, and whether their cascades are logged
//   - writes.go: whether a statement that writes or reads a table may change others
//
// Rows:
//
//   - bracket.go: a SELECT between two positions, the base of all reads of rows
//   - chunk.go, key.go: rows in the order of a key; scan.go: all rows by one SELECT
//   - keys.go, match.go: keys of rows that meet a condition, and rows with given values
//   - dates.go: chunks between dates that are in no calendar
package query
