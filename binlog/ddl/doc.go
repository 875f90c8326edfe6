// Package ddl reads the DDL statements of a binlog and follows what they do to the schemas of
// tables. It is pure: no I/O, no server, no clock. It reads the statements of MySQL 5.7 to 9.x and
// MariaDB 10.x to 12.x.
//
//	s := ddl.Parse(sql, options)       // never fails; s.Action may be Unknown
//	effects, err := s.Apply(catalog)   // what the statement does to each table that is followed
//
// Options are the session's sql_mode, default database, collation_server and
// explicit_defaults_for_timestamp from the Query event, and the server's flavor and version. A
// Catalog holds the schemas before the statement and the default character sets of databases.
// Apply changes nothing in the Catalog: the caller stores Effect.Schema under Effect.Table, one
// Effect after the other, and for CREATE DATABASE and ALTER DATABASE what DatabaseCharset returns.
//
// An Effect has one Class:
//
//	NoVisibleChange  all values print as before; types may be wider, keys may differ
//	ColumnsChanged   columns that are NULL in all rows were added, or columns were dropped,
//	                 renamed, moved, hidden or shown: events have another layout
//	ValuesChanged    values or rows changed without row events: the table has to be read again
//	RowsRemoved      TRUNCATE
//	TableGone        DROP TABLE, DROP DATABASE, the old name of a RENAME
//	TableNew         CREATE TABLE (From is zero), the new name of a RENAME (From is the old one)
//
// KeyChanged is set in addition if other columns identify a row than before.
//
// # What is not known is an error
//
// A Schema is exact or absent. A statement that is not understood in every word has the Action
// Unknown and a Reason; Mentions then tells whether it can be about a given table. Apply fails if
// a schema cannot be told exactly: CREATE TABLE ... SELECT (in row format servers log the columns
// instead), CREATE TABLE LIKE of a table that is not in the Catalog, a column whose character set
// depends on a database that the Catalog does not know. Where a class is not certain, the heavier
// one is returned: a shorter VARCHAR is ValuesChanged, although strict mode rejects it if a value
// does not fit.
//
// Statements about views, routines, triggers, users and the like are Other by their first words;
// their text, up to megabytes of a procedure, is not read. Of the others at most 1 MiB is read.
//
// # Schemas
//
// The best Schema at a position is the one that Parse and Apply make of SHOW CREATE TABLE, read
// with an empty sql_mode: it has the names of all keys, defaults and the table's character set.
// FromTable makes a Partial one of a binlog.Table. Schema.Table returns the binlog.Table that
// binlog/query would read from information_schema. The JSON form of a Schema is compact; what
// follows from a column's type is left out.
//
// ReadDump returns the schemas that a file of statements creates, such as mysqldump writes.
//
// Engine is the storage engine if the statement names one. Whether an engine's rows can be
// followed, other than those of the tables that NotFollowed is set for, is for the caller to
// decide.
//
// # How statements are read
//
// The parser is written for this package, on the lexer of binlog/sqltext. General SQL parsers
// accept one version of one flavor, reject what they do not know, and drop what they do not need
// (INVISIBLE, display widths, COMPRESSED): the normalisation in front of one would have to know the
// place of every column, key and option already. Expressions (defaults, CHECK, generated columns,
// partitions) are skipped as text with balanced parentheses: no column depends on them. The tests
// compare the results with those of real servers and with those of another parser.
//
// # Files
//
//   - parse.go: Parse; statement.go: what it returns; options.go: the session and the server
//   - tokens.go: the words of a statement
//   - create.go, alter.go: CREATE TABLE and ALTER TABLE; columndef.go, columntype.go, keydef.go:
//     definitions of columns, types and keys; charset.go: character sets and collations
//   - schema.go: Schema
//   - apply.go: Statement.Apply; alteration.go: an ALTER TABLE, one change after the other;
//     keys.go: its changes of keys; classify.go: the Class of its effect
//   - cascades.go: the foreign keys that a statement adds
//   - dump.go: ReadDump
//
// The package is longer than 2,500 lines because the grammar of a clause and its effect on a schema
// are one piece of knowledge about a server, and have to change together.
package ddl
