// Package replication is a node: a Redis-protocol master and replica by itself.
//
// A Node keeps a keyspace in memory, a log of every byte it ever replicated on
// disk, and a snapshot file to start from. Real Redis and Valkey servers attach
// to it with REPLICAOF, it can itself follow any of them, and clients read from
// it. Its only writer is the Go program that holds it, through Node.Apply;
// clients' writes are answered READONLY.
//
// What it promises (DESIGN.md in this folder says how):
//
//   - A unit given to Apply is visible, and sent to replicas, all at once or not
//     at all, and only after its exact bytes are in the log.
//   - An offset names the same bytes forever under one replication id. What a
//     restart may have lost gets a new id before anybody is answered.
//   - A slow replica costs a cursor, never memory, and hurts only itself.
//   - An incomplete node never wipes its replicas: PSYNC is answered LOADING.
//
// It never hears of where units come from, and stores database 0 only.
//
// Two parts are packages of their own because they can be understood and tested
// without a node: identity (who this directory is: replication ids, role, the
// lock on the directory; the one place that answers PSYNC) and upstream (the
// replica's side of the wire).
//
// The rest is larger than a package should be and still one, because a session
// becomes a replica, a replica reads the log, a snapshot and a role are fixed
// between two units, and all of it shares the state that DESIGN.md orders. Where
// to look: config.go, node.go (the API, start and stop), loading.go (what clients get
// during the start), recovery.go, unusable.go (a replica that starts without data), appender.go
// (the single writer; its changes of role are in role.go, its deletions of what ran
// out in expiry.go), snapshots.go (image.go is one being written, lease.go one being
// read, pressure.go when the next is due), room.go (a nearly full volume), replica.go
// (those who follow us; replica_limits.go is what they may cost), follow.go (whom we
// follow), failover.go, quorum.go (what Apply waits for), repair.go; and the
// clients' side, which only calls the former: clients.go (accepts connections), session.go (one
// connection), dispatch.go (which part answers a command), commands.go (the table of commands),
// transaction.go (MULTI), replconf.go (REPLCONF, PSYNC), wait.go, client.go (CLIENT), command.go
// (COMMAND), settings.go (CONFIG), info.go, reply.go, client_memory.go, readgate.go (when reads
// are rejected).
package replication
