// Package query asks a server with SELECT and SHOW: which tables there are and
// how they are made, where the binlog ends, whether it is set up for us, and
// the rows of a table in chunks by key.
//
// Read is the reading half of reconciliation. MySQL writes a transaction to
// the binlog before its engine commit makes it visible, so a plain SELECT can
// miss what the stream has long applied. Read makes sure that what the stream
// had applied is visible in the rows, and returns a fence: the rows hold nothing
// that lies after it in the binlog. How, depends on the server: by waiting for
// the GTIDs (MySQL with them), by shared locks (MySQL without), by a consistent
// snapshot that knows its place in the binlog (MariaDB).
//
// Tables says of each table whether its rows in the binlog are those that it holds (engines.go).
// A user sees only the tables that a privilege is given on: the UNION of a MERGE table that the
// user may not see is not known. Answers of SHOW GRANTS and SHOW CREATE TABLE are read under the
// session variables that binlog/mysql sets, above all sql_quote_show_create.
package query
