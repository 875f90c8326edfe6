// Package mysql connects to MySQL and MariaDB: addresses in order, TLS,
// authentication, a session fit for reading, text queries, and the bare socket
// for whoever follows the binlog.
//
// go-mysql performs the handshake; this is the only package that imports it.
// From the server's first OK on, packets are framed here, so that nothing of a
// response ever stays behind in somebody else's buffer when binlog/dump takes
// the socket over, and rows reach their reader without being boxed.
//
// A Conn is used by one goroutine at a time. A context that ends during a call
// closes the socket: the call returns at once, the Conn is of no further use,
// and no goroutine is left. So does a server that sends nothing for Config.Silence
// while a statement runs; the call fails with a SilentError. The package never reconnects; its callers do,
// because only they know what a lost session meant.
package mysql
