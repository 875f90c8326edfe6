// Package dump follows a server's binlog.
//
// binlog/mysql makes the connection; after the dump command the socket is ours:
// packets are split in place in one large buffer, and binlog/events reads the
// events in them where they lie. Following costs no allocation per row or per
// transaction.
//
// What it promises: every transaction after the starting position is seen once,
// in order. The position moves only between transactions, so that resuming from
// any position that Position ever showed yields exactly what came after it.
//
// Config.Last makes Open compare histories first (prove.go): the last transaction
// before the starting position is requested again, and another one in its place is
// a *binlog.HistoryError.
//
// What it does not do: reconnect, choose a position, or read DDL. Its caller
// opens a new Stream from the last position that it has applied.
package dump
