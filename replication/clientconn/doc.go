// Package clientconn is a client's connection that costs few system calls per request.
//
// net.Conn.Read tries to read before it waits, so that a client that sends one request at a time
// costs two reads for each: one that finds nothing, and one for the next request. It also needs a
// deadline for each reply, although nearly all replies fit into the socket's buffer. Within Serve,
// a Conn of plain TCP on Linux waits at once after a read that has emptied the socket, and sets a
// deadline only for a reply that has to wait. Short reads and writes are raw system calls, which
// Go's scheduler does not take for blocked ones. Any other connection, such as TLS, works as a
// net.Conn does.
//
// Serve runs within syscall.RawConn.Read, which holds the read lock of the connection. Therefore a
// command that blocks, and any other reader of the connection, must run outside of Serve; and other
// goroutines end the connection with Sever, because Close would wait for Serve.
package clientconn
