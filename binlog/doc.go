// Package binlog holds what every reader of MySQL and MariaDB agrees on:
// positions, tables, rows and the events of a stream.
//
// It does no I/O, and neither does binlog/events, which parses the binlog's
// bytes. The other sub-packages do: binlog/mysql connects, binlog/dump follows
// the binlog, binlog/query reads schemas and rows with SELECT. A Row renders its
// columns as text, the same bytes whether it was read from the binlog or by a
// SELECT, without boxing a value; transform is its main caller.
//
// A Layout is compiled once per table version: NewImageLayout matches the
// schema with what the table map says and refuses one that cannot be of the
// same time; NewTextLayout goes with SelectExpr. A Row borrows the bytes it is
// pointed at, and pointed at row after row it allocates nothing.
//
// # Values
//
// A column's text is what the server prints for it to a utf8mb4 client with
// time_zone '+00:00' and an empty sql_mode, byte for byte, but for these:
//
//   - FLOAT and DOUBLE are the shortest text that reads back the same number,
//     with an exponent below 1e-15 and, without a fraction, from 1e15 on; (M,D)
//     and ZEROFILL are ignored.
//   - BIT is an unsigned decimal integer, VECTOR the text "[1.5,2]".
//   - BINARY, BLOB and GEOMETRY are their bytes.
//   - Bytes that the column's character set does not know, as rows of old servers may
//     hold, are as they are in the binlog; a SELECT has "?" for them.
//
// In JSON, numbers (YEAR and BIT are some) have all their digits, JSON columns
// are embedded, a SET is an array of strings, binary is base64, NULL is null,
// and everything else is a string. MariaDB's JSON is a text.
//
// # Limits
//
// Not read yet, and refused by name: character sets other than utf8mb4,
// utf8mb3, ascii, binary and latin1; MariaDB's COMPRESSED columns; its old
// temporal format with fractional seconds; row images that leave columns out.
// Its sequences and its tables with SYSTEM VERSIONING, or with a unique key too long
// for an index, are not followed (Table.NotFollowed). Neither are views, tables of engines
// whose rows are not those in the binlog (MERGE, BLACKHOLE, FEDERATED, CONNECT, SPIDER, S3,
// MEMORY and others), and tables in the UNION of a MERGE table.
//
// The package never hears of Redis.
//
// It is longer than most here, because a row, its layout and the text of each of
// MySQL's types are one thing to whoever reads it. layout.go matches schema and table
// map (wiretype.go), row.go is what callers see of it, value.go and json.go are the
// bytes of single values; gtid.go, gtidset.go, position.go and evidence.go stand apart from these: they say
// where in a server's history something is, and whether two histories are the same.
package binlog
