// Package blocking has connections that wait in a system call of their own instead of in Go's
// network poller.
//
// The poller serves thousands of connections with few threads. It is expensive for one connection
// that carries a small transaction every few hundred microseconds. Each arrival wakes a thread that
// waits for all connections, that thread wakes another thread to take its place, and a read that
// finds nothing precedes each wait. A Conn waits in ppoll on the thread of its reader, which the
// kernel wakes directly. The price is a thread. In the first milliseconds of each wait the price is
// also a processor of Go's scheduler, so Take leaves at least one processor to other goroutines.
//
// Only Linux has an implementation. On other systems Take returns errors.ErrUnsupported.
//
// The package imports nothing of the module.
package blocking
