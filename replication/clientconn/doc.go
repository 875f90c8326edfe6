// Package clientconn is a client's connection that needs few system calls for each request.
//
// net.Conn.Read tries to read before it waits. So a client that sends one request at a time costs
// two reads for each request: one that finds nothing, and one that gets the request. A net.Conn
// also needs a new deadline for each reply, although nearly all replies fit into the socket's
// buffer.
//
// Within Serve, a Conn on plain TCP on Linux waits at once after a read that has emptied the
// socket, and sets a deadline only for a reply that has to wait. Short reads and writes are raw
// system calls, which Go's scheduler does not see. Any other connection, such as TLS, works as a
// net.Conn does.
//
// Serve runs within syscall.RawConn.Read, which holds the read lock of the connection. Therefore a
// command that reads from the connection while it waits must run outside of Serve. Other goroutines
// end the connection with Sever, because Close would wait for Serve.
//
// The package imports nothing of the module.
package clientconn
