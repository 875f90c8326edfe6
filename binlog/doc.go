// Package binlog defines the vocabulary of all readers of MySQL and MariaDB:
// positions, GTID sets, tables, rows and the events of a stream.
//
// This package and binlog/events, which parses the binlog's bytes, do no I/O. binlog/charset
// converts text of all character sets. binlog/mysql connects, binlog/dump follows the binlog,
// binlog/files reads binlog files from disk, and binlog/query reads schemas and rows with SELECT.
// A Row renders its columns as text: the same bytes for a row from the binlog and for a row from a
// SELECT, without boxing a value. transform is its main caller.
//
// A Layout is compiled once per table version. NewImageLayout compares the schema
// with the table map and rejects a schema of another time; NewTextLayout goes with
// SelectExpr. A Row borrows the bytes that it is pointed at. Pointed at one row after
// the other, it allocates nothing.
//
// # Values
//
// A column's text is, byte for byte, what the server prints for the column to a
// utf8mb4 client with time_zone '+00:00' and an empty sql_mode. The exceptions are:
//
//   - FLOAT and DOUBLE are the shortest text that reads back the same number,
//     with an exponent below 1e-15 and, without a fraction, from 1e15 on; (M,D)
//     and ZEROFILL are ignored.
//   - BIT is an unsigned decimal integer, VECTOR the text "[1.5,2]".
//   - BINARY, BLOB and GEOMETRY are their bytes.
//
// Bytes that represent no character in the column's character set become what the server
// prints for them; see package charset. In utf8mb4 and binary no bytes are changed.
//
// In JSON, numbers (YEAR and BIT included) have all their digits, JSON columns are
// embedded, a SET is an array of strings, binary is base64, NULL is null, and
// everything else is a string. MariaDB's JSON is text.
//
// # Limits
//
// A row image that lacks a column is rejected, and the error names the column. A new image may lack
// columns whose values the old image has (MariaDB's FULL_NODUP). A type that is not in the table of
// column types, and a character set that neither MySQL 9.7 nor MariaDB 10.11 has, are rejected
// unless the mapping excludes the column.
//
// A column in MariaDB's temporal format of version 5.3 has no fractional-second digits in a table
// map: the schema must be of the time of the rows.
//
// Bytes of a key that represent no character have the text "?". Rows whose keys differ only
// in such bytes have one text, and a SELECT by this text does not find them.
//
// Not followed (Table.NotFollowed): MariaDB's sequences, its tables WITH SYSTEM
// VERSIONING and its tables with a unique key too long for an index; views; tables of
// engines whose rows differ from those in the binlog (MERGE, BLACKHOLE, FEDERATED,
// CONNECT, SPIDER, S3, MEMORY and others); tables in the UNION of a MERGE table.
//
// The package does not depend on Redis.
//
// # Files
//
// The package is longer than others, because a row, its layout and the text of each type must
// agree in every detail.
//
//   - types.go: the table of column types; adding a type is one row there. typerow.go describes
//     the row
//   - wiretype.go: the table of type bytes. A new one also needs its decoder in value.go
//   - table.go, layout.go: the schema of a table, and its comparison with a table map
//   - rows.go, row.go: what callers see of a rows event, and of one row
//   - image.go: where the values of a row image are; newimage.go, jsonpatch.go: new images that
//     refer to the old ones
//   - value.go, integer.go, json.go: the text of single values; hires.go, compressed.go: values in
//     forms that only MariaDB has
//   - supplied.go: schemas from table maps with full metadata
//   - event.go, xa.go, session.go: the events of a stream; refused.go, unsent.go: its errors
//   - gtid.go, gtidset.go, position.go, position_time.go: positions in a server's history
//   - evidence.go, evidence_text.go: the proof that two histories are the same
//   - transactionid.go, skip.go: names of single transactions, and requests to skip them
//   - pattern.go: patterns that select tables by name; clip.go: texts that are cut for messages
//
// A name that the server writes in another way than the statement also needs a case in binlog/ddl.
// docs/values.md has a line for each type.
package binlog
