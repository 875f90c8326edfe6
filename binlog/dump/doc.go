// Package dump follows a server's binlog as a replica does.
//
// binlog/mysql makes the connection. After the dump command this package reads the socket itself:
// packetBuffer splits packets in place in one large buffer, and binlog/events parses the events in
// them in place. Following costs no allocation per row or per transaction.
//
// Every transaction after the starting position is yielded once, in order. The position moves only
// between transactions, so a stream that resumes from any position that Position returned yields
// exactly the transactions after it.
//
// With Config.Last, Open compares histories first (prove.go): it requests the last transaction
// before the starting position again. If the server has another transaction in its place, Open
// returns a *binlog.HistoryError.
//
//   - stream.go: Open, Stream, and the errors of a server
//   - request.go: the requests to the server; gtidmode.go: changes of gtid_mode meanwhile
//   - packetbuffer.go: the buffer of the socket; fill.go: a read into it that does not wait
//   - prove.go: the comparison of histories
//
// A Stream does not reconnect, choose a position or read DDL. Its caller opens a new Stream from
// the last position that it has applied.
package dump
