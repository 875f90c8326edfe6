// Package source defines what a pipeline needs of a source of changes, and the errors of a pipeline
// that a retry cannot correct.
//
//   - source.go: Source, what a run is connected to; the server and its positions
//   - stream.go: Stream, the changes after a position, and the evidence of their history
//   - schema_reader.go: SchemaReader, the definitions of tables as the source has them now
//   - keys.go: KeySource, searches for rows to read again
//   - prepared.go: PreparedSource, searches for XA transactions in older files
//   - write_checker.go: WriteChecker, what statements change besides the tables that they name
//   - stop_error.go: StopError, a failure that a retry cannot correct
//
// Package mysqlsource implements Source for MySQL and MariaDB, and package filesource for binlog
// files. *dump.Stream and *files.Stream implement Stream. The interfaces are small, one for each
// part of the loop, so that a test can replace one part. Their methods return the plain values of
// packages binlog, ddl and query, which hold no connection.
//
// Package pipelines and the sources import this package. It imports only binlog and its
// subpackages, and pipelines/jobs, whose RowSource is a part of Source.
package source
