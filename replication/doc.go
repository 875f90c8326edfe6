// Package replication is a node: a Redis-protocol master and replica by itself.
//
// A Node keeps a keyspace in memory, the replication log on disk, and a snapshot file to start
// from. Real Redis and Valkey servers attach to it with REPLICAOF, it can itself follow any of
// them, and clients read from it. Its only writer is the Go program that holds it, through
// Node.Apply; writes of clients get READONLY. It stores database 0 only. Where the units of
// Apply come from is unknown to it.
//
// # Promises
//
// DESIGN.md in this folder describes how each is kept.
//
//   - A unit given to Apply becomes visible, and is sent to replicas, as a whole or not at
//     all, and only after its exact bytes are in the log.
//   - An offset names the same bytes forever under one replication id. If a restart may have
//     lost bytes, a new id begins before any replica is answered.
//   - A slow replica costs a cursor into the log, never memory, and delays nobody else.
//   - An incomplete node never wipes its replicas: PSYNC gets LOADING.
//
// # Files
//
//	the API           node.go, config.go, status.go, role.go, complete.go, stalls.go
//	start             recovery.go, log_check.go, unusable.go, loading.go
//	writer            appender.go, expiry.go, room.go, quorum.go
//	snapshots         snapshot_source.go; the files are package snapshots
//	replicas          admit.go (PSYNC), replica.go, replicas.go, replica_limits.go, fullsync.go,
//	                  form.go, pacing_linux.go
//	upstream          follow.go; the wire is package upstream
//	change of master  failover.go, failover_command.go
//	clients           clients.go (accepts connections), session.go (one connection),
//	                  dispatch.go (which part executes a command), commands.go (the table),
//	                  transaction.go (MULTI), replconf.go (REPLCONF, PSYNC), wait.go,
//	                  client.go (CLIENT), command.go (COMMAND), settings.go (CONFIG), info.go,
//	                  reply.go, client_memory.go, readgate.go (when reads are rejected)
//	small parts       address.go, signal.go, waiting.go
//
// Packages below hold what can be understood and tested without a node:
//
//	disk          the file system, and atomic writes of small files
//	replog        the replication log
//	identity      replication ids, role and the lock of a directory; the answer to PSYNC
//	snapshots     the snapshot files
//	progress      how far one replica has come
//	syncthrottle  slots, rates and delays of full resyncs
//	upstream      a replica's side of the wire
//	keyspace, rdb, resp
//
// The package is larger than 2,500 lines because the clients' side, which only asks the core,
// is not a package of its own yet, and because appender, recovery, role and PSYNC share the
// state that DESIGN.md, "Locks", orders.
package replication
