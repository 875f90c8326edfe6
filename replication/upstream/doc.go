// Package upstream is the replica's side of the replication protocol. It connects to a master,
// requests a resync, reads the framing of the snapshot, and groups the replication stream into
// records without changing a byte.
//
// A Link has no state beyond its connection. Its only user, package node, decides which offset to
// request, what to do with records, and when to reconnect.
package upstream
