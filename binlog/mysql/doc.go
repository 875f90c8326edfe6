// Package mysql connects to MySQL and MariaDB: a list of addresses, TLS, authentication, a session
// for reading, text queries, and the bare socket for binlog/dump.
//
// go-mysql performs the handshake; no other package imports it. From the server's first OK on, this
// package frames the packets itself. So no bytes of a response are left in another buffer when
// binlog/dump takes over the socket, and rows reach their reader without being boxed.
//
// One goroutine at a time uses a Conn. When a context ends during a call, the socket is closed: the
// call returns at once, the Conn cannot be used any more, and no goroutine is left. The same
// happens with a SilentError when the server sends nothing for Config.Silence while a statement
// runs. The package never reconnects, because only its callers can restore what a session held.
//
//   - config.go, dial.go: the settings of a connection, and its handshake; greeting.go: the
//     check of the server's first packet, before go-mysql reads it
//   - conn.go: Conn and the results of queries; packet.go: packets and their fields
//   - available.go: how reads of the bare socket wait, and a read that does not wait
//   - session.go: the variables of the session; silence.go: the limit on a silent server
//   - server.go: the flavor, version, identity and variables of a server; unknown.go: a server
//     that no file names
//   - errors.go: the errors of servers, with remedies
package mysql
