// Package blocking has connections that wait in a system call of their own instead of in Go's
// network poller.
//
// The poller serves thousands of connections with few threads. For one connection that carries a
// small transaction every few hundred microseconds it is expensive: each arrival wakes a thread
// that waits for all connections, that thread wakes another one to take its place, and a read that
// finds nothing precedes each wait. A Conn waits in ppoll on the thread of its reader, which the
// kernel wakes directly. The price is a thread, and for the first milliseconds of each wait a
// processor of Go's scheduler, so Take leaves at least one processor to other goroutines.
//
// The package imports nothing of the module.
package blocking
