// Package upstream is the replica's side of the replication protocol: it
// connects to a master, asks for a resync, reads the snapshot's framing and
// groups the stream into records without changing a byte.
//
// It keeps no state beyond the connection and decides nothing: which offset to
// ask for, what to do with records and when to connect again is the node's, its
// only user.
package upstream
