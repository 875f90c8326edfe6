// Package filesource is a stretch of binlog files as the source of one run of a pipeline, without a
// server. It implements source.Source.
//
//   - source.go: Open and Source; methods that need a server return an error, or nothing
//   - write_checker.go: what statements may change besides the tables that they name: unknown
//   - catalog.go: the tables that the statements in the files have created
//
// Only package pipelines may import this package. The files are read by binlog/files.
package filesource
