// Package mysqlsource is MySQL, or MariaDB, as the source of a pipeline. It implements
// source.Source.
//
//   - source.go: Open and Source, one connection for queries about the server; its streams
//   - filter.go: mapped databases that the server does not log
//   - schemas.go: the definitions of tables; write_checker.go: what statements may change besides
//     the tables that they name
//   - rows.go: the rows for jobs, over connections of their own; read_from.go: from other servers
//   - keys.go: searches by a condition, and second streams, for a replay and for XA transactions
//   - position_time.go: the position at a time
//   - query_wait.go: queries that wait for a lock, or for an answer
//   - server_id.go: the id under which a pipeline connects to MySQL
//
// A Source belongs to one run of a pipeline, and the goroutine of the loop calls it. Each reader
// that OpenRows or OpenKeys returns, and each stream, has a connection of its own, so that another
// goroutine may use it.
//
// Only package pipelines may import this package. Its queries are in binlog/query, and its streams
// in binlog/dump.
package mysqlsource
