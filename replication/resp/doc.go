// Package resp is the one reader and the one writer of the Redis serialization
// protocol: commands in, replies out, with the wire limits of Redis. It knows
// no command, opens no connection and starts no goroutine.
//
// ParseCommand cuts commands out of bytes at hand (replication units). Reader
// does the same over a stream, keeps what it has parsed when a read fails or
// times out, and holds no more than about twice the bytes it has received and some
// 32 for each argument among them, whatever lengths a peer announces; SetAccount bounds
// that further. The Append functions write replies for protocol 2 or 3 and commands into
// a caller's buffer; a Writer sends replies of any length in pieces.
package resp
