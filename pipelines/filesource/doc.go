// Package filesource is a stretch of binlog files as the source of one run of a pipeline, without a
// server. It implements source.Source.
//
//   - source.go: Open and Source; what only a server can answer is an error, or empty
//   - catalog.go: the tables that the statements in the files have created
//
// Only package pipelines may import this package. The files are read by binlog/files.
package filesource
