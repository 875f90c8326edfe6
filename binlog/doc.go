// Package binlog defines the vocabulary of all readers of MySQL and MariaDB:
// positions, GTID sets, tables, rows and the events of a stream.
//
// This package and binlog/events, which parses the binlog's bytes, do no I/O.
// binlog/charset converts text of all character sets.
// binlog/mysql connects, binlog/dump follows the binlog, binlog/files reads binlog files
// from disk, and binlog/query reads
// schemas and rows with SELECT. A Row renders its columns as text: the same bytes for
// a row from the binlog and for a row from a SELECT, without boxing a value. transform
// is its main caller.
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
// Row images that lack columns are rejected by name, apart from new images whose values the old
// image has (MariaDB's FULL_NODUP). So are a type that is not in the table of column types, and a
// character set that neither MySQL 9.7 nor MariaDB 10.11 has, unless the mapping excludes the
// column.
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
// agree in every detail. types.go is the table of column types: adding a type is one row
// there, and typerow.go describes the row. A new form on the wire also needs its decoder here,
// and a name that the server writes in another way than the statement needs a case in
// binlog/ddl. docs/values.md has a line for each type. wiretype.go is the table of type bytes,
// layout.go compares schema and table map, row.go is what callers see of a row, value.go and
// json.go render single values, hires.go and compressed.go those of forms that only MariaDB
// has. newimage.go and jsonpatch.go complete new images that refer to the old ones. gtid.go,
// gtidset.go, position.go and evidence.go are independent: they hold positions in a server's
// history and the proof that two histories are the same. transactionid.go and skip.go name single
// transactions. pattern.go selects tables by name. supplied.go turns what a table map with full
// metadata describes into a schema.
package binlog
