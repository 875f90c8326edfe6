// Package resp parses and writes RESP, the Redis serialization protocol: it parses commands and
// writes replies and commands, within the limits that Redis has on the wire. It has no table of
// commands, opens no connection and starts no goroutine.
//
// ParseCommand parses a command from bytes in memory, such as a replication unit. A Reader parses
// commands from a stream, and can continue after a time-out. Its memory is at most about twice the
// bytes received, and 32 bytes for each argument, whatever lengths a peer announces; SetAccount
// allows to bound that memory further. The Append functions append replies, in protocol 2 or 3, and
// commands to a buffer of the caller. A Writer sends replies of any length in chunks.
package resp
